#!/usr/bin/env bash
# demo.sh NUMAHINT STENCIL [--side N] [--picture N]: what ./dev demo shows, with programs that are built already.
# Exit 1: a result differs from the plain run's, or nothing was marked.
set -euo pipefail

numahint=$1
stencil=$2
shift 2
side=4096
picture=3000
while (($# > 1)); do
	case $1 in
	--side) side=$2 ;;
	--picture) picture=$2 ;;
	*) break ;;
	esac
	shift 2
done
if (($#)); then
	echo "dev demo: unknown argument '$1' (--side N, --picture N)" >&2
	exit 2
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset NUMAHINT_CONF NUMAHINT_NODES NUMAHINT_OUT
bad=0

# Nodes that run threads: memory without CPUs is touched by nobody of its own.
nodes_with_cpus() {
	local list=/sys/devices/system/node/has_cpu first last n=0
	[[ -r $list ]] || { echo 1; return; }
	while IFS=- read -r first last; do
		n=$((n + ${last:-$first} - first + 1))
	done < <(tr ',' '\n' <"$list")
	echo "$n"
}

color=never # strips cannot see through the pipe below whether somebody looks at a terminal
[[ ! -t 1 || ${NO_COLOR:-} || ${TERM:-} == dumb ]] || color=always

nodes=$(nodes_with_cpus)
options=(--quiet)
if ((nodes > 1)); then
	echo "This machine has $nodes NUMA nodes with CPUs; pages move between them."
	export OMP_PROC_BIND=${OMP_PROC_BIND:-spread} OMP_PLACES=${OMP_PLACES:-cores}
else
	options+=(--nodes 4)
	export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
	echo "This machine has one NUMA node, so four are emulated: threads and pages carry node numbers, and"
	echo "each migration costs a real copy. No access gets faster here: the times show what numahint costs."
fi

# timed FILE COMMAND...: its output to FILE; the seconds go to $seconds
timed() {
	local out=$1 start=$EPOCHREALTIME end
	shift
	"$@" >"$out"
	end=$EPOCHREALTIME
	seconds=$(awk -v a="$start" -v b="$end" 'BEGIN {printf "%.2f", b - a}')
}

# same A B: the results of the plain and of the managed run
same() {
	if cmp -s "$1" "$2"; then
		echo "   the same result, byte for byte"
	else
		echo "   THE RESULTS DIFFER"
		bad=1
	fi
}

# strips REPORT: also checks that there was something to see
strips() {
	grep -q '"marked_pages": [1-9]' "$1" || { echo "   NOTHING WAS MARKED"; bad=1; }
	echo
	"$numahint" strips --color "$color" "$1" | sed 's/^./   &/'
}

echo
echo "1. A stencil with OpenMP whose two grids are filled by one thread (examples/stencil.c)"
timed "$dir/plain" "$stencil" -n "$side"
echo "   plain     $(cat "$dir/plain")"
timed "$dir/managed" "$numahint" run "${options[@]}" --json "$dir/stencil.json" -- "$stencil" -n "$side"
echo "   numahint  $(cat "$dir/managed")"
# All but the time at the end of the line.
sed 's/, [0-9.]* s$//' "$dir/plain" >"$dir/plain.result"
sed 's/, [0-9.]* s$//' "$dir/managed" >"$dir/managed.result"
same "$dir/plain.result" "$dir/managed.result"
strips "$dir/stencil.json"

convert=/usr/bin/convert-im6.q16
echo
if [[ -x $convert ]]; then
	version=$("$convert" -version | awk '/^Version/ {print $3; exit}')
	echo "2. ImageMagick $version as Debian ships it: sharpening a picture of $picture x $picture"
	# ImageMagick keeps one CPU free, which of two would leave one thread.
	export MAGICK_THREAD_LIMIT=${MAGICK_THREAD_LIMIT:-4}
	"$convert" -seed 1 -size 500x500 plasma:fractal -resize "${picture}x$picture!" -depth 8 "$dir/picture.ppm"
	timed /dev/null "$convert" "$dir/picture.ppm" -sharpen 0x1 "$dir/plain.ppm"
	echo "   plain     $seconds s"
	timed /dev/null "$numahint" run "${options[@]}" --json "$dir/convert.json" -- \
		"$convert" "$dir/picture.ppm" -sharpen 0x1 "$dir/managed.ppm"
	echo "   numahint  $seconds s"
	same "$dir/plain.ppm" "$dir/managed.ppm"
	strips "$dir/convert.json"
else
	echo "2. ImageMagick, the unmodified program of this demo, is not installed: apt-get install imagemagick"
fi
exit "$bad"
