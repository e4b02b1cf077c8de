#!/bin/bash
# What: programs of all kinds, marked every 20 ms, print and return what they do alone: interpreters, compilers,
#       compressors, databases, other allocators, run-time systems with fault handlers of their own.
# How: each plain, under numahint run, and so as an ordinary user. Where a number of pages is given, the program must
#      have had that many marked, or the case shows nothing. Skipped: what is not installed (package group wild).
# Usage: t_wild.sh lib.sh FOLDER_OF_THIS
# shellcheck source=test/run/lib.sh disable=SC2016,SC2317
. "$1"
limit=20
here=$2
libraries=/usr/lib/x86_64-linux-gnu
options=(--nodes 4 --when every=20ms --min-size 128K --json "$dir/report.json")

same() {
	is_code "$plain_code" && cmp "$dir/out" "$dir/plain_out"
}
# same_as NAME PAGES COMMAND...; $preload: in LD_PRELOAD behind numahint's; $prefix: in front of numahint
preload=
prefix=()
same_as() {
	local name=$1 pages=$2 program checks=(same)
	shift 2
	for program in $needs "$1"; do
		if ! command -v "$program" >"$dir/why"; then
			skip "$name" "no $program here"
			return
		fi
	done
	[ "$pages" -eq 0 ] || checks+=("more_than marked_pages $pages")
	LD_PRELOAD=$preload go "$@"
	plain_code=$code
	cp "$dir/out" "$dir/plain_out"
	rm -f "$dir"/*.json
	LD_PRELOAD=$preload go "${prefix[@]}" "$NUMAHINT" run "${options[@]}" -- "$@"
	ok "$name" all "${checks[@]}"
	rm -f "$dir"/*.json
	LD_PRELOAD=$preload go_nobody "${prefix[@]}" "$NUMAHINT" run "${options[@]}" -- "$@"
	ok "$name, an ordinary user" all "${checks[@]}"
}
needs=

# Reports come from ordinary users too.
chmod 1777 "$dir"
awk 'BEGIN { srand(5); for (i = 0; i < 40000; i++) printf "%08x line %d %s\n", rand() * 4294967296, i, substr("abcabcabcabcabc", 1, i % 15) }' \
	>"$dir/data"

cat >"$dir/mix.py" <<'END'
import hashlib, mmap, os, random, socket, threading, zlib
data = bytes(range(256)) * 4096
def work(n, out):
    a = bytearray(data)
    for i in range(0, len(a), 4096):
        a[i] = n
    out[n] = hashlib.md5(a).hexdigest()
out = [None] * 4
threads = [threading.Thread(target=work, args=(i, out)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(out)
a, b = socket.socketpair()
def feed():
    a.sendall(data * 4)
    a.close()
t = threading.Thread(target=feed)
t.start()
buf = bytearray(len(data) * 4)
view, n = memoryview(buf), 0
while n < len(buf):
    n += b.recv_into(view[n:])
t.join()
print(hashlib.sha1(buf).hexdigest())
m = mmap.mmap(-1, 1 << 20)
m.write(data)
print(zlib.crc32(m[:]))
big = list(range(150000))
random.Random(3).shuffle(big)
big.sort()
print(big[77], sum(big))
pid = os.fork()
if not pid:
    print(hashlib.md5(buf).hexdigest(), flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
same_as python3 100 /usr/bin/python3 "$dir/mix.py"
# Memory is marked while children start: what exec reads lay in marked memory once.
cat >"$dir/children.py" <<'END'
import os, subprocess
buffers = [bytearray(os.urandom(1 << 20)) for i in range(16)]
for i in range(25):
    assert subprocess.check_output(['/bin/echo', str(i)]) == b'%d\n' % i
    assert os.system('true') == 0
    assert os.popen('echo yes').read() == 'yes\n'
print('all children ran')
END
options=("${options[@]/every=20ms/every=5ms}")
same_as "python3 and children" 100 /usr/bin/python3 "$dir/children.py"
options=("${options[@]/every=5ms/every=20ms}")
for name in libjemalloc.so.2 libtcmalloc_minimal.so.4 libmimalloc.so.2.0; do
	if [ ! -e "$libraries/$name" ]; then
		skip "$name" "not installed"
		continue
	fi
	preload=$libraries/$name
	[ "$name" = libmimalloc.so.2.0 ] || same_as "python3 with $name" 100 /usr/bin/python3 "$dir/mix.py"
	# Its arenas are mapped with its own locks held: numahint must start no thread there.
	same_as "threads with $name" 100 "$VICTIMS/v_wild" threads
	preload=
done
for case in jump stack libraries threads; do
	same_as "v_wild $case" 100 "$VICTIMS/v_wild" "$case"
done
if command -v g++ >"$dir/why" && g++ -O1 -pthread -o "$dir/new" "$here/v_new.cc"; then
	same_as "C++" 100 "$dir/new"
	if [ -e "$libraries/libjemalloc.so.2" ]; then
		preload=$libraries/libjemalloc.so.2
		same_as "C++ with jemalloc" 0 "$dir/new"
		preload=
	fi
else
	skip "C++" "no g++ here"
fi

same_as sqlite3 20 sqlite3 :memory: "pragma cache_size=-8000; create table t(a integer primary key, b text, c int);
with recursive n(i) as (select 1 union all select i+1 from n where i<60000) insert into t select i, hex(i*7919)||'xyz', i%97 from n;
create index ti on t(b); create index tc on t(c,b); select count(*), sum(c) from t where b like '3%';
select c, count(*), max(b) from t group by c order by 2,1 limit 5; delete from t where c=5; pragma integrity_check;"
same_as perl 20 perl -e 'my %h; $h{$_*17%100003} .= "x$_" for 1..120000; my $s = 0; $s += length $h{$_} for keys %h; print "$s\n";
	my $b = "abc" x 900000; $b =~ s/b/BB/g; print length $b, "\n"; print `echo hi`;
	open my $f, "<", shift; local $/; my $d = <$f>; print unpack("%32C*", $d), "\n"; exit 5' "$dir/data"
same_as "gzip and bzip2" 0 sh -c 'gzip -c "$0" | gzip -dc | sha1sum; bzip2 -c "$0" | bzip2 -dc | sha1sum' "$dir/data"
needs=xz same_as xz 0 sh -c 'head -c 300000 "$0" | xz -T2 -1 | xz -dc | sha1sum' "$dir/data"
same_as sort 0 sh -c 'sort --parallel=2 "$0" | sha1sum; sort -k3n -r "$0" | sha1sum' "$dir/data"
same_as tar 0 sh -c 'tar cf - -C /usr/include linux | tar xOf - | sha1sum'
same_as awk 0 awk '{ n[$3 % 5000] += length($0) } END { for (i in n) t += n[i]; print t }' "$dir/data"
needs=openssl same_as openssl 0 sh -c 'openssl dgst -sha256 -r <"$0"; openssl enc -aes-256-ctr -K 00 -iv 00 -in "$0" 2>&1 | sha1sum' "$dir/data"
for i in $(seq 60); do
	echo "double f$i(double *d, int n) { double t = 0; for (int i = 0; i < n; i++) t += d[i] * d[i % $i] + $i; return t > 3 ? t : f$i(d, n - 1); }"
done >"$dir/many.c"
same_as gcc 0 gcc -O2 -S -o - "$dir/many.c"

cat >"$dir/matrix.f90" <<'END'
program matrix
  implicit none
  real(8), allocatable :: a(:,:), b(:,:), c(:,:)
  integer :: i
  do i = 1, 20
    allocate(a(300,300), b(300,300), c(300,300))
    a = i
    b = i + 1
    c = matmul(a, b)
    if (mod(i, 10) == 0) print *, sum(c), c(17, 33)
    deallocate(a, b, c)
  end do
end program
END
if command -v gfortran >"$dir/why" && gfortran -O1 -o "$dir/matrix" "$dir/matrix.f90"; then
	same_as "Fortran's allocate" 100 "$dir/matrix"
else
	skip "Fortran's allocate" "no gfortran here"
fi
# Handlers of SIGSEGV that are a part of how these work.
same_as node 20 node -e 'let a = []; for (let i = 0; i < 100000; i++) a.push({ k: i * 7919 % 100003, s: "x" + i });
	a.sort((p, q) => p.k - q.k || (p.s < q.s ? -1 : 1)); const b = Buffer.alloc(4 << 20, JSON.stringify(a[77]));
	console.log(require("crypto").createHash("sha256").update(JSON.stringify(a)).update(b).digest("hex")); process.exitCode = 4'
same_as sbcl 20 sbcl --noinform --no-userinit --no-sysinit --disable-debugger --eval '(progn
	(let ((h (make-hash-table)) (s 0))
	  (dotimes (i 300000) (setf (gethash (mod (* i 7919) 100003) h) (list i i i)))
	  (gc :full t) (maphash (lambda (k v) (incf s (* k (car v)))) h) (print s))
	(handler-case (labels ((r (n) (1+ (r (1+ n))))) (print (r 0))) (storage-condition () (print :overflow)))
	(handler-case (print (sb-sys:sap-ref-32 (sb-sys:int-sap 8) 0)) (error () (print :fault)))
	(terpri) (finish-output) (exit :code 3 :abort t))'

cat >"$dir/redis.sh" <<'END'
d=$(mktemp -d)
redis-server --port 0 --unixsocket "$d/s" --save '' --logfile "$d/log" --dir "$d" &
for _ in $(seq 50); do [ -S "$d/s" ] && break; sleep 0.1; done
redis-benchmark -s "$d/s" -q -n 4000 -c 8 -d 200 -r 5000 -t set,get,lpush,mset >"$d/bench" 2>&1
echo "benchmark $?"
redis-cli -s "$d/s" eval 'for i = 1, 20000 do redis.call("set", "k" .. i, string.rep("v", i % 300)) end' 0
redis-cli -s "$d/s" eval 'local s = 0 for i = 1, 20000 do s = s + #redis.call("get", "k" .. i) end return s' 0
redis-cli -s "$d/s" save
redis-cli -s "$d/s" shutdown nosave
wait $!
echo "server $?"
redis-check-rdb "$d/dump.rdb" | grep -c 'looks OK'
rm -rf "$d"
END
needs=redis-server same_as redis 0 bash "$dir/redis.sh"
if numactl --membind=0 true 2>"$dir/why"; then
	prefix=(numactl --membind=0)
	same_as "numactl in front" 100 "$VICTIMS/v_wild" threads
	prefix=()
	same_as "numactl's policy" 0 numactl --interleave=0 -- sh -c 'numactl --show | grep -E "policy|interleavemask"'
else
	skip "numactl" "not installed, or not allowed"
fi
finish
