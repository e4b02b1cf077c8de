#!/usr/bin/env python3
"""Runs nh-compare for every method and scenario in one guest, and makes of it a table (Markdown), JSON and SVG plots.

The guest's CPUs are emulated, so its memory has no remote latency: times of the program itself mean nothing. What counts
is when pages are local, how many moved, how long a thread had to wait at once, and the CPU time that the kernel took.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys

METHODS = ['plain', 'balancing', 'mbind', 'move_pages', 'textbook', 'nh-mprotect', 'nh-shadow', 'nh-shadow-mon', 'nh-minor']
SCENARIOS = ['sweep', 'tenth', 'random', 'phases', 'right', 'shared', 'full']
WHAT = {
    'sweep': 'one thread fills, all sweep their blocks',
    'tenth': 'the same, but only the first tenth of each block is used',
    'random': 'each block in random order',
    'phases': 'three times, the owner of each block changes',
    'right': 'every page is where it is used already',
    'shared': 'all threads read all pages',
    'full': 'half of what should move fits on the other node',
}
COLOURS = ['#888888', '#d62728', '#ff7f0e', '#bcbd22', '#8c564b', '#17becf', '#1f77b4', '#2ca02c', '#9467bd']
# Each run is a process of its own; between two of them the page allocator's state is made the same.
JOB = '''#!/bin/sh
sysctl -q -w kernel.numa_balancing=0 2>/dev/null
for scenario in {scenarios}; do
	for method in {methods}; do
		echo 3 >/proc/sys/vm/drop_caches
		{program} --mb {mb} --seconds {seconds} "$method" "$scenario" || echo "$method $scenario: exit $?" >&2
	done
done
'''


def parse_args():
    parser = argparse.ArgumentParser(prog='./dev compare', description=__doc__)
    parser.add_argument('--build', default='build', help=argparse.SUPPRESS)
    parser.add_argument('--kernel', default='6.12', choices=['6.1', '6.12'])
    parser.add_argument('--nodes', type=int, default=2)
    parser.add_argument('--mb', type=int, default=64, help='MiB of data (64)')
    parser.add_argument('--seconds', type=float, default=4, help='length of a phase (4)')
    parser.add_argument('--methods', default=' '.join(METHODS))
    parser.add_argument('--scenarios', default=' '.join(SCENARIOS))
    parser.add_argument('--out', help='folder for the results (build/compare)')
    parser.add_argument('--from-json', metavar='FILE', help='no guest: tables and plots of these results again')
    return parser.parse_args()


def measure(args, out):
    program = os.path.realpath(os.path.join(args.build, 'bench', 'nh-compare'))
    job = os.path.join(out, 'job.sh')
    with open(job, 'w', encoding='ascii') as file:
        file.write(JOB.format(scenarios=args.scenarios, methods=args.methods, program=shlex.quote(program), mb=args.mb,
                              seconds=args.seconds))
    os.chmod(job, 0o755)
    runs = len(args.methods.split()) * (len(args.scenarios.split()) + 2)
    command = [os.path.join(os.path.dirname(__file__), 'guest.py'), '--build', args.build, '--kernel', args.kernel,
               '--nodes', str(args.nodes), '--smp', str(args.nodes), '--balancing', '--timeout',
               str(int(120 + runs * (args.seconds + 10))), '--copy', program, '--', job]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
    if not results:
        sys.exit('compare: the guest brought no result')
    return {'kernel': args.kernel, 'nodes': args.nodes, 'mb': args.mb, 'seconds': args.seconds, 'runs': results}


def ms(value):
    return 'never' if value < 0 else f'{value:.0f}'


def table(data, scenario):
    rows = [r for r in data['runs'] if r['scenario'] == scenario]
    lines = [f'### {scenario}: {WHAT[scenario]}', '',
             '| method | ms until 99 % local | pages moved | of these for nothing | caller, ms | longest pause of the others, ms | kernel CPU, s | local at the end |',
             '|---|---:|---:|---:|---:|---:|---:|---:|']
    for r in rows:
        lines.append(f'| {r["method"]} | {ms(r["ms_to_local"])} | {r["moved"]} | {r["for_nothing"]} | '
                     f'{r["begin_ms"]:.0f} | {r["longest_pause_ms"]:.1f} | {r["sys_s"]:.2f} | {100 * r["local_after"]:.1f} % |')
    needed = max((r['needed'] for r in rows), default=0)
    return '\n'.join(lines + ['', f'Misplaced at the start, all phases together: {needed} of {rows[0]["pages"]} pages.', ''])


def plot(data, scenario):
    """Locality against time, first phase after the other, as SVG."""
    rows = [r for r in data['runs'] if r['scenario'] == scenario and r['curve']]
    width, height, left, top = 760, 320, 50, 30
    span = data['seconds'] * 1000
    total = span * (1 + max(point[0] for r in rows for point in r['curve']))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 160} {height + 70}" font-family="sans-serif" font-size="12">',
           f'<text x="{left}" y="18" font-size="14">{scenario}: {WHAT[scenario]}</text>']
    for share in (0, 25, 50, 75, 100):
        y = top + height * (1 - share / 100)
        out.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
                   f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share} %</text>')
    for tick in range(0, int(total / 1000) + 1):
        x = left + (width - left) * tick * 1000 / total
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + height}" y2="{top + height + 5}" stroke="#444444"/>'
                   f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{tick}</text>')
    out.append(f'<text x="{(left + width) / 2}" y="{top + height + 36}" text-anchor="middle">seconds</text>')
    for number, r in enumerate(rows):
        colour = COLOURS[METHODS.index(r['method']) % len(COLOURS)]
        points = ' '.join(f'{left + (width - left) * min(1, (phase * span + at) / total):.1f},{top + height * (1 - local):.1f}'
                          for phase, at, local in r['curve'])
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>'
                   f'<line x1="{width + 14}" x2="{width + 34}" y1="{top + 10 + 18 * number}" y2="{top + 10 + 18 * number}" '
                   f'stroke="{colour}" stroke-width="3"/>'
                   f'<text x="{width + 40}" y="{top + 14 + 18 * number}">{r["method"]}</text>')
    return '\n'.join(out + ['</svg>', ''])


def main():
    args = parse_args()
    out = args.out or os.path.join(args.build, 'compare')
    os.makedirs(out, exist_ok=True)
    if args.from_json:
        with open(args.from_json, encoding='utf-8') as file:
            data = json.load(file)
    else:
        data = measure(args, out)
        with open(os.path.join(out, 'compare.json'), 'w', encoding='utf-8') as file:
            json.dump(data, file)
    text = []
    for scenario in SCENARIOS:
        if any(r['scenario'] == scenario for r in data['runs']):
            text.append(table(data, scenario))
            with open(os.path.join(out, f'{scenario}.svg'), 'w', encoding='utf-8') as file:
                file.write(plot(data, scenario))
    with open(os.path.join(out, 'compare.md'), 'w', encoding='utf-8') as file:
        file.write('\n'.join(text))
    print('\n'.join(text))
    print(f'JSON and SVG plots are in {out}')


if __name__ == '__main__':
    main()
