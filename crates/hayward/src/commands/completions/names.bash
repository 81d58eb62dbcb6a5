
# Kinds, and names of resources that the server knows; where there are none, the words above.
_hayward_names() {
    local names
    names=$(hayward __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ -n $names ]]; then
        mapfile -t COMPREPLY <<<"$names"
        return 0
    fi
    _hayward "$@"
}
complete -F _hayward_names -o bashdefault -o default hayward
