#!/usr/bin/env python3
"""Put fresh figures into a document. bench_doc.py BENCH DOCUMENT [ONLY]

Each fenced block that begins with `$ ./dev bench ARGUMENT...` is replaced by what BENCH (build/bench/nh-bench) prints for
these arguments; with ONLY, those whose command contains it. Progress goes to stderr.
"""
import re
import subprocess
import sys


def refresh(match, bench, only):
    command = match.group(1)
    arguments = command.split()
    if only and only not in command:
        return match.group(0)
    print(f'bench_doc: {command}', file=sys.stderr)
    run = subprocess.run([bench, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if run.returncode or not run.stdout.strip():
        sys.exit(f'bench_doc: {command}: exit code {run.returncode}')
    return f'```\n$ ./dev bench {command}\n{run.stdout.rstrip()}\n```\n'


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    bench, document = sys.argv[1:3]
    only = sys.argv[3] if len(sys.argv) == 4 else ''
    with open(document, encoding='utf-8') as source:
        text = source.read()
    text = re.sub(r'^```\n\$ \./dev bench ([^\n]*)\n.*?^```\n', lambda m: refresh(m, bench, only), text, flags=re.M | re.S)
    with open(document, 'w', encoding='utf-8') as target:
        target.write(text)


if __name__ == '__main__':
    main()
