# bash completion for numahint(1). Verbs and options come from --help, so this file cannot be behind them; only values that
# are words stand here.

_numahint_options() {
	"$1" "${@:2}" --help 2>/dev/null | sed -n 's/^  \(-.*\)/\1/p' | sed 's/   .*//' | grep -oE -- '-(-[a-z][a-z-]*|[a-z])\b'
}

# The value of option $1: words in COMPREPLY, or files.
_numahint_value() {
	local cur=$2 words=
	case $1 in
	--trap) words="auto mprotect shadow minor" ;;
	--delivery) words="auto monitor thread" ;;
	--copy) words="auto never always" ;;
	--color) words="auto always never" ;;
	--when) words="parallel start threads every=500ms signal=USR1 signal=USR2" ;;
	--nodes) words="1 2 4 8" ;;
	--min-size) words="64K 1M 16M 1G" ;;
	--strategy) words="exhaustive random pct" ;;
	--json | --save)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return 0
		;;
	*) return 1 ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

_numahint() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=$1 verb=${COMP_WORDS[1]-} i
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$("$command" --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p')
			$(_numahint_options "$command")" -- "$cur")
		return
	fi
	if [[ $verb == run ]]; then
		# Behind "--" or the first word that is no option stands a program, with a completion of its own.
		for ((i = 2; i < COMP_CWORD; i++)); do
			case ${COMP_WORDS[i]} in
			--)
				i=$((i + 1))
				break
				;;
			--nodes | --trap | --delivery | --copy | --when | --min-size | --json) i=$((i + 1)) ;;
			-*) ;;
			*) break ;;
			esac
		done
		if ((i < COMP_CWORD)) || [[ $prev == -- ]]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			elif ((i == COMP_CWORD)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return
		fi
	fi
	_numahint_value "$prev" "$cur" && return
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_numahint_options "$command" "$verb")" -- "$cur")
	elif [[ $verb == run ]]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

complete -o filenames -F _numahint numahint
