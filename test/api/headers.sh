#!/bin/sh
# What: every public header compiles alone, as C11 and as C++17, without a warning.
# Usage: headers.sh INCLUDE_DIR
set -eu
for header in "$1"/numahint/*.h; do
	name=numahint/$(basename "$header")
	echo "#include <$name>" | ${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$1" -xc -fsyntax-only -
	echo "#include <$name>" | ${CXX:-c++} -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$1" -xc++ -fsyntax-only -
done
