
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
    # Bash puts in the place of the second argument only: what stands before it, as far as `=` or up to `@`, is there already.
    if [[ $word == *"$2" ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"$2"}"}")
    fi
    if [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _hayward_names -o bashdefault -o default hayward
