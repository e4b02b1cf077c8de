#!/usr/bin/env python3
"""Runs one command in a QEMU guest with several NUMA nodes. Called by ./dev guest; guest_tests.py uses Guest itself.

The kernel is Debian's cloud kernel, the root file system an initramfs made for this one run: busybox, the command, what
--copy names, the programs and libraries of the build tree, each at the path it has here, with the shared libraries
they need. Nothing needs root except the installation of QEMU.

Three virtio-serial ports join guest and host: nh.out and nh.err carry the command's output, nh.ctl carries its exit
code and a tar of /out, and the host's word that all has arrived. The console goes into a file of its own and is shown
when the guest dies.
"""
import argparse
import fcntl
import glob
import io
import lzma
import os
import re
import secrets
import selectors
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time

CACHE = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'numahint', 'guest')
PACKAGES = {
    '6.1': r'linux-image-6\.1\.0-\d+-cloud-amd64',
    '6.12': r'linux-image-6\.12\.\d+\+deb12-cloud-amd64',
}
MODULES = ['virtio_pci', 'virtio_console', 'virtio_blk', 'fuse']
# tsc=reliable: QEMU's counters agree between CPUs, but the kernel's check is too slow under emulation to see it, and
# would fall back to the HPET, a system call and a device access for each clock_gettime().
KERNEL_PARAMETERS = 'console=ttyS0 quiet panic=-1 oops=panic tsc=reliable'
BAD_NEWS = re.compile(r'panic|BUG:|Oops|Out of memory|crash')
EXIT_OWN_FAILURE = 125
EXIT_TIMEOUT = 124


class Unavailable(Exception):
    """The guest cannot be made here; the text says what is missing."""


def natural(text):
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', text)]


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        raise Unavailable(f'{" ".join(command)}: {done.stdout.strip()[-500:]}')
    return done.stdout


class Kernel:
    """One unpacked kernel package of the cache, fetched on first use."""

    def __init__(self, version):
        if version not in PACKAGES:
            raise Unavailable(f'no kernel {version}; there is {", ".join(PACKAGES)}')
        os.makedirs(CACHE, exist_ok=True)
        with open(os.path.join(CACHE, 'lock'), 'w', encoding='ascii') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.dir = self.cached(version) or self.fetch(version)
        self.image = glob.glob(os.path.join(self.dir, 'boot', 'vmlinuz-*'))[0]
        self.release = os.path.basename(self.image)[len('vmlinuz-'):]
        self.modules_dir = os.path.join(self.dir, 'lib', 'modules', self.release)
        with open(os.path.join(self.modules_dir, 'modules.builtin'), encoding='ascii') as builtin:
            self.builtin = {self.module_name(line.strip()) for line in builtin}
        self.files = {self.module_name(path): path
                      for path in glob.glob(os.path.join(self.modules_dir, '**', '*.ko*'), recursive=True)}

    @staticmethod
    def module_name(path):
        return os.path.basename(path).split('.ko')[0].replace('-', '_')

    @staticmethod
    def cached(version):
        found = [d for d in glob.glob(os.path.join(CACHE, 'linux-image-*'))
                 if re.fullmatch(PACKAGES[version], os.path.basename(d))]
        return max(found, key=natural, default=None)

    @staticmethod
    def fetch(version):
        """The newest package of that version, by apt; with an apt state of our own where the system has no lists."""
        state = os.path.join(CACHE, 'apt')
        private = ['-o', f'Dir::State={state}/state', '-o', f'Dir::Cache={state}/cache']
        options = []
        for attempt in ('system', 'private'):
            if attempt == 'private':
                for folder in ('state/lists/partial', 'cache/archives/partial'):
                    os.makedirs(os.path.join(state, folder), exist_ok=True)
                options = private
                run('apt-get', *options, 'update')
            names = run('apt-cache', *options, 'pkgnames', f'linux-image-{version}.').split()
            names = [name for name in names if re.fullmatch(PACKAGES[version], name)]
            if not names:
                continue
            name = max(names, key=natural)
            print(f'guest: fetching {name}', file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                try:
                    run('apt-get', *options, '-o', 'APT::Sandbox::User=' + ('root' if os.geteuid() == 0 else ''),
                        'download', name, cwd=work)
                except Unavailable:
                    if attempt == 'system':
                        continue  # the system's lists may be old
                    raise
                run('dpkg-deb', '-x', glob.glob(os.path.join(work, '*.deb'))[0], os.path.join(work, 'root'))
                os.rename(os.path.join(work, 'root'), os.path.join(CACHE, name))
            return os.path.join(CACHE, name)
        raise Unavailable(f'apt knows no package like {PACKAGES[version]} (bookworm-security has them)')

    def modules(self, names):
        """[(name, content)] in the order to load them, with what they depend on."""
        done = {}

        def add(name):
            name = name.replace('-', '_')
            if name in done or name in self.builtin or name not in self.files:
                return
            with open(self.files[name], 'rb') as file:
                content = file.read()
            if self.files[name].endswith('.xz'):
                content = lzma.decompress(content)
            depends = re.search(rb'\0depends=([^\0]*)\0', content)
            for other in depends.group(1).decode().split(',') if depends else []:
                if other:
                    add(other)
            done[name] = content

        for name in names:
            add(name)
        return list(done.items())


class Initramfs:
    """A cpio archive (newc) written entry by entry: no staging copy, and no root for owners and device nodes."""

    # Debian's merged /usr, so that a file has one place however it is named.
    MERGED = {'/bin': '/usr/bin', '/sbin': '/usr/sbin', '/lib': '/usr/lib', '/lib64': '/usr/lib64'}

    def __init__(self):
        self.entries = {}  # path -> (mode, content or host path or None, device)
        self.closed = set()
        for link, target in self.MERGED.items():
            self.add_dir(target)
            self.entries[link] = (stat.S_IFLNK | 0o777, target[1:].encode(), (0, 0))
        for folder in ('/proc', '/sys', '/dev', '/run', '/etc', '/root', '/home', '/var', '/nh'):
            self.add_dir(folder)
        self.add_dir('/tmp', 0o1777)
        self.add_dir('/out', 0o1777)
        self.entries['/dev/console'] = (stat.S_IFCHR | 0o600, None, (5, 1))

    def place(self, path):
        for link, target in self.MERGED.items():
            if path == link or path.startswith(link + '/'):
                return target + path[len(link):]
        return path

    def add_dir(self, path, mode=0o755):
        path = self.place(path)
        if path in ('/', '') or path in self.entries:
            return
        self.add_dir(os.path.dirname(path))
        self.entries[path] = (stat.S_IFDIR | mode, None, (0, 0))

    def add_data(self, path, content, mode=0o644):
        path = self.place(path)
        self.add_dir(os.path.dirname(path))
        self.entries[path] = (stat.S_IFREG | mode, content, (0, 0))

    def add_link(self, path, target):
        path = self.place(path)
        self.add_dir(os.path.dirname(path))
        self.entries[path] = (stat.S_IFLNK | 0o777, target.encode(), (0, 0))

    def add_file(self, path):
        """A file or a folder of the host at the same path, and the libraries it needs."""
        path = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
        if os.path.isdir(path):
            for top, _, names in os.walk(path):
                self.add_dir(top)
                for name in names:
                    self.add_file(os.path.join(top, name))
            return
        if path in self.closed or not os.path.isfile(path):
            return
        self.closed.add(path)
        mode = os.stat(path).st_mode
        place = self.place(path)
        self.add_dir(os.path.dirname(place))
        self.entries[place] = (stat.S_IFREG | stat.S_IMODE(mode) | 0o444, path, (0, 0))
        with open(path, 'rb') as file:
            head = file.read(256)
        if head.startswith(b'#!'):
            self.add_interpreter(head.split(b'\n')[0][2:].decode().split())
        elif head.startswith(b'\x7fELF'):
            self.add_libraries(path)

    def add_interpreter(self, words):
        program = words[0] if words else '/bin/sh'
        if os.path.basename(program) == 'env' and len(words) > 1:
            program = shutil.which(words[-1]) or words[-1]
        if os.path.basename(program) != 'sh':
            self.add_file(program)

    def add_libraries(self, path):
        ldd = subprocess.run(['ldd', path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        for line in ldd.stdout.split('\n'):
            match = re.match(r'\s*(?:\S+ => )?(/\S+) \(0x', line)
            if match:
                self.add_file(match.group(1))
                # The name that the program asks for, where the directory was a link.
                asked = self.place(match.group(1))
                if asked not in self.entries:
                    self.add_dir(os.path.dirname(asked))
                    self.add_link(asked, os.path.realpath(match.group(1)))

    def write(self, archive):
        for number, path in enumerate(sorted(self.entries), 1):
            mode, content, device = self.entries[path]
            if isinstance(content, str):
                with open(content, 'rb') as file:
                    content = file.read()
            self.write_entry(archive, number, path[1:], mode, content or b'', device)
        self.write_entry(archive, 0, 'TRAILER!!!', 0, b'', (0, 0))

    @staticmethod
    def write_entry(archive, number, name, mode, content, device):
        name = name.encode() + b'\0'
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(name), 0)
        header = b'070701' + b''.join(b'%08X' % field for field in fields)
        archive.write(header + name + b'\0' * (-(len(header) + len(name)) % 4))
        archive.write(content + b'\0' * (-len(content) % 4))


INIT = r'''#!/bin/busybox sh
# Process 1 of the guest.
export PATH=/usr/local/bin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts /dev/hugepages
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=755 run /run
mount -t hugetlbfs -o mode=1777 hugetlbfs /dev/hugepages
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
ip link set lo up
hostname guest
for module in /nh/modules/*; do insmod "$module"; done

. /nh/config

for try in $(seq 500); do
	for port in /sys/class/virtio-ports/*; do
		[ -e "$port/name" ] && ln -sf "${port##*/}" "/dev/$(cat "$port/name")"
	done
	[ -e /dev/nh.out ] && [ -e /dev/nh.err ] && [ -e /dev/nh.ctl ] && break
	usleep 10000
done
exec 7>/dev/nh.out 8>/dev/nh.err 9<>/dev/nh.ctl || reboot -f
read -r up rest </proc/uptime
echo "ready $up" >&9

# Pipes in between: a port can be opened once only, and programs reopen /dev/stdout.
mkfifo -m 666 /nh/out /nh/err
cat /nh/out >&7 8>&- 9>&- & out_cat=$!
cat /nh/err >&8 7>&- 9>&- & err_cat=$!
before=" $(echo /proc/[0-9]*) "
if [ "$DIRECT" = 1 ]; then
	setsid $AS_USER /nh/command </dev/null >&7 2>&8 7>&- 8>&- 9>&- & command=$!
	exec 5>/nh/out 6>/nh/err 5>&- 6>&-
else
	setsid $AS_USER /nh/command </dev/null >/nh/out 2>/nh/err 7>&- 8>&- 9>&- & command=$!
fi
wait $command
status=$?

# What the command left running would keep the pipes open.
for process in /proc/[0-9]*; do
	case $before in *" $process "*) ;; *) kill -9 "${process#/proc/}" 2>/dev/null ;; esac
done
wait $out_cat $err_cat
printf %s "$NONCE" >&7
printf %s "$NONCE" >&8
tar cf /nh/out.tar -C /out .
echo "exit $status $(stat -c %s /nh/out.tar)" >&9
cat /nh/out.tar >&9
read -r -t 60 answer <&9
reboot -f
'''


class Stream:
    """One output port: passes its bytes on, and notices the mark that ends them."""

    def __init__(self, nonce, sink):
        self.nonce = nonce
        self.sink = sink
        self.held = b''
        self.done = False

    def feed(self, data):
        data = self.held + data
        end = data.find(self.nonce)
        if end >= 0:
            self.done = True
            self.held = b''
            self.sink(data[:end])
            return
        # A tail that may be the beginning of the mark waits for the rest of it.
        keep = next((n for n in range(min(len(self.nonce) - 1, len(data)), 0, -1) if self.nonce.startswith(data[-n:])), 0)
        self.held = data[len(data) - keep:]
        if len(data) > keep:
            self.sink(data[:len(data) - keep])


class Control:
    """The control port: `ready UPTIME`, then `exit STATUS BYTES` and that many bytes of tar."""

    def __init__(self):
        self.data = b''
        self.boot_s = None
        self.status = None
        self.tar_bytes = 0

    def feed(self, data):
        self.data += data
        while self.status is None and b'\n' in self.data:
            line, self.data = self.data.split(b'\n', 1)
            words = line.decode(errors='replace').split()
            if words[:1] == ['ready']:
                self.boot_s = float(words[1])
            elif words[:1] == ['exit']:
                self.status = int(words[1])
                self.tar_bytes = int(words[2])

    @property
    def done(self):
        return self.status is not None and len(self.data) >= self.tar_bytes


class Guest:
    """One run. Fill in, then call run()."""

    def __init__(self, options):
        self.options = options
        self.image = Initramfs()
        self.dir = tempfile.mkdtemp(prefix='nh-guest-')
        self.nonce = b'\x01' + secrets.token_hex(16).encode()
        self.control = Control()
        self.message = ''

    def close(self):
        if self.options.keep:
            print(f'guest: kept {self.dir}', file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def add_base(self, kernel):
        busybox = shutil.which('busybox')
        if not busybox:
            raise Unavailable('busybox is missing (apt-get install busybox-static)')
        self.image.add_file(busybox)
        if os.path.realpath(os.path.dirname(busybox)) != '/usr/bin':
            self.image.add_link('/bin/busybox', os.path.realpath(busybox))
        for applet in run(busybox, '--list').split():
            if '/usr/bin/' + applet not in self.image.entries:
                self.image.add_link('/usr/bin/' + applet, '/usr/bin/busybox')
        for library in glob.glob('/usr/lib/*/libgcc_s.so.1'):
            self.image.add_file(library)  # glibc opens it for pthread_exit and pthread_cancel
        self.image.add_data('/etc/passwd', b'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n')
        self.image.add_data('/etc/group', b'root:x:0:\nnogroup:x:65534:\n')
        self.image.add_data('/etc/hosts', b'127.0.0.1 localhost guest\n')
        # Nested KVM takes a second to load under emulation, so it is there on request only.
        modules = MODULES + self.options.module + (['kvm-amd'] if self.options.kvm else [])
        for number, (name, content) in enumerate(kernel.modules(modules)):
            self.image.add_data(f'/nh/modules/{number:02d}-{name}.ko', content)
        self.image.add_dir('/nh/modules')
        self.image.add_data('/init', INIT.encode(), 0o755)

    def add_command(self, words, env):
        options = self.options
        sysctls = ([] if options.balancing else ['kernel.numa_balancing=0']) + options.sysctl
        lines = [f'sysctl -q -w {shlex.quote(s)}' for s in sysctls]
        lines.append('AS_USER=' + shlex.quote(f'su -p -s /bin/sh {options.user}' if options.user != 'root' else ''))
        lines.append(f'DIRECT={int(options.direct)}')
        lines.append('NONCE=' + shlex.quote(self.nonce.decode()))
        self.image.add_data('/nh/config', '\n'.join(lines + ['']).encode())
        script = ['#!/bin/sh', f'cd {shlex.quote(options.cwd)} || exit {EXIT_OWN_FAILURE}']
        script += [f'export {name}={shlex.quote(value)}' for name, value in sorted(env.items())]
        script.append('exec ' + ' '.join(shlex.quote(word) for word in words))
        self.image.add_dir(options.cwd)
        self.image.add_data('/nh/command', '\n'.join(script + ['']).encode(), 0o755)

    def nodes(self):
        """-numa arguments: memory on every node, CPUs on all, or on all but the last."""
        options = self.options
        with_cpus = options.nodes - 1 if options.cpuless else options.nodes
        each = mebibytes(options.mem) // options.nodes
        args = ['-smp', f'{options.smp},sockets={options.smp}', '-m', f'{each * options.nodes}M']
        for node in range(options.nodes):
            args += ['-object', f'memory-backend-ram,id=m{node},size={each}M']
            cpus = ''
            if node < with_cpus:
                first, last = (options.smp * n // with_cpus for n in (node, node + 1))
                cpus = f',cpus={first}-{last - 1}'
            args += ['-numa', f'node,nodeid={node},memdev=m{node}{cpus}']
        for a in range(options.nodes):
            for b in range(options.nodes):
                if a != b:
                    far = 40 if max(a, b) >= with_cpus else 21 if a // 2 == b // 2 else 31
                    args += ['-numa', f'dist,src={a},dst={b},val={far}']
        return args

    def qemu(self, kernel):
        command = ['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-nodefaults',
                   '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot', *self.nodes(),
                   '-kernel', kernel.image, '-initrd', f'{self.dir}/initramfs', '-append',
                   f'{KERNEL_PARAMETERS} {self.options.append}'.strip(),
                   '-serial', f'file:{self.dir}/console.log', '-device', 'virtio-serial-pci']
        for port in ('out', 'err', 'ctl'):
            command += ['-chardev', f'socket,id={port},path={self.dir}/{port}',
                        '-device', f'virtserialport,chardev={port},name=nh.{port}']
        return shlex.split(self.options.under) + command + self.options.qemu_arg

    def run(self, words, env, on_stdout, on_stderr):
        """Boots and runs; the exit code of the command, or EXIT_TIMEOUT or EXIT_OWN_FAILURE with self.message set."""
        if not shutil.which('qemu-system-x86_64'):
            raise Unavailable('qemu-system-x86_64 is missing (apt-get install qemu-system-x86)')
        kernel = Kernel(self.options.kernel)
        self.add_base(kernel)
        self.add_command(words, env)
        with open(f'{self.dir}/initramfs', 'wb') as archive:
            self.image.write(archive)
        command = self.qemu(kernel)
        with open(f'{self.dir}/qemu.sh', 'w', encoding='utf-8') as script:
            script.write(' '.join(shlex.quote(word) for word in command) + '\n')

        streams = {'out': Stream(self.nonce, on_stdout), 'err': Stream(self.nonce, on_stderr), 'ctl': self.control}
        listeners = {}
        for port in streams:
            listeners[port] = socket.socket(socket.AF_UNIX)
            listeners[port].bind(f'{self.dir}/{port}')
            listeners[port].listen(1)
        with open(f'{self.dir}/qemu.log', 'wb') as log:
            qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            ended = self.serve(qemu, listeners, streams)
        finally:
            if qemu.poll() is None:
                qemu.kill()
            qemu.wait()
            for listener in listeners.values():
                listener.close()
        if self.control.done:
            self.unpack(self.control.data[:self.control.tar_bytes])
            return self.control.status
        self.message = self.post_mortem(ended)
        return EXIT_TIMEOUT if ended == 'timeout' else EXIT_OWN_FAILURE

    def serve(self, qemu, listeners, streams):
        """Moves bytes until everything has arrived ('done'), QEMU is gone ('gone') or the time is up ('timeout')."""
        selector = selectors.DefaultSelector()
        for port, listener in listeners.items():
            selector.register(listener, selectors.EVENT_READ, port)
        connections = {}
        deadline = time.monotonic() + self.options.timeout
        gone = False
        while time.monotonic() < deadline:
            ready = selector.select(0.2)
            for key, _ in ready:
                port = key.data
                if key.fileobj is listeners[port]:
                    connections[port] = key.fileobj.accept()[0]
                    selector.register(connections[port], selectors.EVENT_READ, port)
                    continue
                try:
                    data = key.fileobj.recv(1 << 20)
                except ConnectionResetError:
                    data = b''
                if data:
                    streams[port].feed(data)
                else:
                    selector.unregister(key.fileobj)
            if all(stream.done for stream in streams.values()):
                connections['ctl'].sendall(b'ok\n')
                try:
                    qemu.wait(10)
                except subprocess.TimeoutExpired:
                    pass
                return 'done'
            if not ready and gone:
                return 'gone'
            gone = qemu.poll() is not None  # what it wrote last is read first
        return 'timeout'

    def post_mortem(self, ended):
        if ended == 'timeout':
            text = f'no end after {self.options.timeout} s, killed'
            text += '' if self.control.boot_s is not None else ' (it never got as far as the command)'
        else:
            text = 'died before the command ended'
        for name in ('qemu.log', 'console.log'):
            try:
                with open(f'{self.dir}/{name}', encoding='utf-8', errors='replace') as log:
                    lines = [line.strip('\r\n') for line in log]
            except FileNotFoundError:
                continue
            lines = [re.sub(r'\x1b[\[c][0-9;?=]*[A-Za-z]?', '', line) for line in lines]
            lines = [line for line in lines if line.strip()]
            first = next((n for n, line in enumerate(lines) if BAD_NEWS.search(line)), max(0, len(lines) - 25))
            text += ''.join(f'\n  {name}: {line}' for line in lines[first:first + 25])
        return text

    def unpack(self, data):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = [m for m in tar.getmembers() if m.name != '.' and (m.isfile() or m.isdir())]
            if not members:
                return
            if not self.options.out:
                print(f'guest: {len(members)} files in /out are lost; --out DIR would keep them', file=sys.stderr)
                return
            for member in members:
                target = os.path.realpath(os.path.join(self.options.out, member.name))
                if not target.startswith(os.path.realpath(self.options.out) + os.sep):
                    continue
                member.mode |= 0o700 if member.isdir() else 0o600
                member.uid, member.gid = os.getuid(), os.getgid()
                tar.extract(member, self.options.out, set_attrs=True)


def mebibytes(text):
    match = re.fullmatch(r'(\d+)([MG]?)', text)
    if not match:
        raise Unavailable(f'--mem {text}: wanted a size like 2G or 512M')
    return int(match.group(1)) * (1024 if match.group(2) == 'G' else 1)


def build_outputs(build):
    """Programs and shared libraries of a Meson build tree, without its tests."""
    import json
    if not build or not os.path.exists(os.path.join(build, 'build.ninja')):
        return []
    targets = json.loads(run('meson', 'introspect', '--targets', build))
    return [name for target in targets if target['type'] in ('executable', 'shared library', 'shared module')
            and '/test/' not in target['defined_in'] for name in target['filename'] if os.path.exists(name)]


def find_command(name, cwd, build):
    """The host file for a command word, or None if busybox is to serve it."""
    if '/' in name:
        path = os.path.join(cwd, name)
        if not os.path.exists(path):
            raise Unavailable(f'{name} not found')
        return path
    for path in (os.path.join(build or '', 'tools', name), os.path.join(build or '', 'examples', name)):
        if build and os.access(path, os.X_OK):
            return path
    applets = run('busybox', '--list').split()
    return None if name in applets else shutil.which(name)


def parser():
    args = argparse.ArgumentParser(prog='./dev guest', usage='%(prog)s [options] -- command [argument...]',
                                   description='Run a command in a QEMU guest with several NUMA nodes.')
    args.add_argument('--kernel', default='6.12', choices=sorted(PACKAGES), help='Debian kernel (default 6.12)')
    args.add_argument('--nodes', type=int, default=2, help='NUMA nodes (default 2)')
    args.add_argument('--cpuless', action='store_true', help='the last node has memory but no CPU')
    args.add_argument('--mem', default='2G', help='memory of all nodes together (default 2G)')
    args.add_argument('--smp', type=int, default=4, help='CPUs of all nodes together (default 4)')
    args.add_argument('--copy', action='append', default=[], metavar='PATH', help='file or folder to have in the guest')
    args.add_argument('--env', action='append', default=[], metavar='K=V', help='environment variable of the command')
    args.add_argument('--user', default='root', choices=('root', 'nobody'), help='who runs the command')
    args.add_argument('--out', metavar='DIR', help='bring back what the command writes to /out')
    args.add_argument('--kvm', action='store_true', help='have /dev/kvm (nested, AMD)')
    args.add_argument('--balancing', action='store_true', help='leave kernel.numa_balancing on')
    args.add_argument('--sysctl', action='append', default=[], metavar='K=V')
    args.add_argument('--module', action='append', default=[], metavar='NAME', help='load a further kernel module')
    args.add_argument('--direct', action='store_true', help='output straight to the port, the last byte before a crash too'
                      ' (/dev/stdout cannot be opened again then)')
    args.add_argument('--timeout', type=int, default=600, metavar='S', help='kill the guest after S seconds (600)')
    args.add_argument('--append', default='', help='more kernel parameters')
    args.add_argument('--qemu-arg', action='append', default=[], metavar='ARG', help='one more argument for QEMU')
    args.add_argument('--under', default='', metavar='COMMAND', help='run QEMU itself under this command: "numahint run --"')
    args.add_argument('--build', metavar='DIR', help='build tree whose programs and libraries come along')
    args.add_argument('--cwd', default=os.environ.get('NH_CWD') or os.getcwd(), help='working directory in the guest')
    args.add_argument('--keep', action='store_true', help='keep initramfs, console log and the QEMU command line')
    args.add_argument('-v', '--verbose', action='store_true', help='say how long the boot took')
    args.add_argument('command', nargs='+', metavar='command')
    return args


def check(options):
    if not 1 <= options.nodes <= 16 or (options.cpuless and options.nodes < 2):
        raise Unavailable('--nodes: 1 to 16, and at least 2 with --cpuless')
    if options.smp < options.nodes - options.cpuless:
        raise Unavailable(f'--smp {options.smp}: fewer CPUs than nodes that have some')
    if mebibytes(options.mem) < 256 * options.nodes:
        raise Unavailable('--mem: at least 256M a node')


def write_all(file):
    def sink(data):
        file.buffer.write(data)
        file.buffer.flush()
    return sink


def main():
    options = parser().parse_args()
    started = time.monotonic()
    guest = None
    try:
        check(options)
        options.cwd = os.path.realpath(options.cwd)
        guest = Guest(options)
        words = list(options.command)
        path = find_command(words[0], options.cwd, options.build)
        if path:
            guest.image.add_file(path)
            words[0] = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
        for other in [os.path.join(options.cwd, name) for name in options.copy] + build_outputs(options.build):
            if not os.path.exists(other):
                raise Unavailable(f'{other} not found')
            guest.image.add_file(other)
        env = {k: v for k, v in os.environ.items() if k.startswith(('NUMAHINT_', 'OMP_', 'CMOCKA_', 'GOMP_', 'KMP_'))}
        env.update(pair.split('=', 1) for pair in options.env)
        status = guest.run(words, env, write_all(sys.stdout), write_all(sys.stderr))
        if guest.message:
            print(f'guest: {guest.message}', file=sys.stderr)
        if options.verbose:
            boot = f'{guest.control.boot_s:.1f} s' if guest.control.boot_s is not None else 'not'
            print(f'guest: kernel up after {boot}, all in all {time.monotonic() - started:.1f} s', file=sys.stderr)
        return status
    except Unavailable as problem:
        print(f'guest: {problem}', file=sys.stderr)
        return EXIT_OWN_FAILURE
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    finally:
        if guest:
            guest.close()


if __name__ == '__main__':
    sys.exit(main())
