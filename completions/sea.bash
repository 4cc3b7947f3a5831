# bash completion for sea; made by completions/generate.py
_sea() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "audit vocab-extend embed-init mix train lsn-detect sample judge dpo eval --help --version" -- "$cur"))
        return
    fi
    case ${COMP_WORDS[1]} in
        audit)
            words="-o -q -v -h --help" ;;
        vocab-extend)
            words="-o -q -v -h --help" ;;
        embed-init)
            words="-o -q -v -h --help" ;;
        mix)
            words="-o -q -v -h --help" ;;
        train)
            words="-o -q -v -h --help" ;;
        lsn-detect)
            words="-o -q -v -h --help" ;;
        sample)
            words="-o --num -q -v -h --help" ;;
        judge)
            words="-o -q -v -h --help" ;;
        dpo)
            words="-o -q -v -h --help" ;;
        eval)
            words="-o -q -v -h --help" ;;
    esac
    case $cur in
        -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -f -- "$cur")) ;;
    esac
}
complete -o filenames -F _sea sea
