#!/usr/bin/env bash
# What: `meson install` leaves a library, headers and a pkg-config file with which a program outside the tree builds,
# shared and static, as C and as C++, and runs.
# Usage: install.sh BUILD_DIR
set -euo pipefail
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
DESTDIR=$dest meson install -C "$1" --no-rebuild --quiet
pc=$(dirname "$(find "$dest" -name numahint.pc)")
prefix=$(sed -n 's/^prefix=//p' "$pc/numahint.pc")
cat >"$dest/consumer.c" <<'EOF'
#include <numahint/numahint.h>
#include <stdio.h>

int main(void)
{
	printf("%d %s\n", nh_version(), nh_strerror(0));
	return nh_version() != NH_VERSION_MAJOR * 10000 + NH_VERSION_MINOR * 100 + NH_VERSION_PATCH;
}
EOF
export PKG_CONFIG_PATH=$pc PKG_CONFIG_SYSROOT_DIR=$dest
read -ra cflags <<<"$(pkg-config --cflags numahint)"
read -ra libs <<<"$(pkg-config --libs numahint)"
libdir=$(find "$dest$prefix" -name 'libnumahint.so' -printf '%h\n')
${CC:-cc} "$dest/consumer.c" "${cflags[@]}" "${libs[@]}" -o "$dest/shared"
LD_LIBRARY_PATH=$libdir "$dest/shared"
${CXX:-c++} -xc++ "$dest/consumer.c" -xnone "${cflags[@]}" "${libs[@]}" -o "$dest/cxx"
LD_LIBRARY_PATH=$libdir "$dest/cxx"
${CC:-cc} "$dest/consumer.c" "${cflags[@]}" "$libdir/libnumahint.a" -lpthread -o "$dest/static"
"$dest/static"
