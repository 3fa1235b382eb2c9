# bash completion for vespene-autoscale, made of the program's options (TestGenerated)
_vespene_autoscale() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= word options
    if [[ $cur == = ]]; then cur=; fi
    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in status | history | check) command=$word ;; esac
    done
    case $prev in
    --output) COMPREPLY=($(compgen -W 'text json' -- "$cur")) && return ;;
    --metrics-file | --state)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --database | --executor | --jobs | --planner | --queue | --since | --timeout | -q) return ;;
    esac
    case $command in
    status) options='--queue -q --database --state --planner --executor --shared --output --help -h' ;;
    history) options='--queue -q --database --state --output --since --help -h' ;;
    check) options='--queue -q --database --state --planner --executor --shared --output --help -h' ;;
    *) options='status history check --queue -q --database --state --force --dry-run --timeout --planner --executor --jobs --shared --metrics-file --output --verbose -v --version --help -h' ;;
    esac
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
}
complete -F _vespene_autoscale vespene-autoscale
