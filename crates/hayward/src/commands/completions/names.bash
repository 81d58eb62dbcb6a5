
# What hayward itself and the server know: kinds, names, values of flags; where there is nothing, the words above.
_hayward_names() {
    local line=${COMP_LINE:0:COMP_POINT} found words word
    # Bash splits words at `=`, `:` and others, too: they are put together again.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    found=$(hayward __complete -- "${words[@]:1}" 2>/dev/null)
    if [[ -z $found ]]; then
        _hayward "$@"
        return
    fi
    mapfile -t COMPREPLY <<<"$found"
    # What stands before the last of these is no part of what bash puts in.
    local breaks=${COMP_WORDBREAKS//[[:space:]\"\']/}
    local before=${word%"${word##*[$breaks]}"}
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    if [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _hayward_names -o bashdefault -o default hayward
