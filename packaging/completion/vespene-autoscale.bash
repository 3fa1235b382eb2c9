# bash completion for vespene-autoscale, made of the program's options (TestGenerated)
_vespene_autoscale() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= word options
    if [[ $cur == = ]]; then cur=; fi
    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in status | history | check | simulate) command=$word ;; esac
    done
    case $prev in
    --output) COMPREPLY=($(compgen -W 'text json' -- "$cur")) && return ;;
    --metrics-file | --state | --svg)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --billing-minimum | --boot | --database | --executor | --jobs | --max-builds | --max-wait | --planner | --queue | --recommend | --set | --since | --sweep | --timeout | --workers-per-instance | -q) return ;;
    esac
    case $command in
    status) options='--queue -q --database --state --planner --executor --shared --output --help -h' ;;
    history) options='--queue -q --database --state --output --since --help -h' ;;
    check) options='--queue -q --database --state --planner --executor --shared --output --help -h' ;;
    simulate) options='--queue -q --database --state --planner --executor --shared --output --since --boot --set --sweep --recommend --max-builds --max-wait --workers-per-instance --billing-minimum --svg --help -h' ;;
    *) options='status history check simulate --queue -q --database --state --force --dry-run --timeout --planner --executor --jobs --shared --metrics-file --output --verbose -v --version --help -h' ;;
    esac
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
}
complete -F _vespene_autoscale vespene-autoscale
