
# Kinds, and names of resources that the server knows; where there are none, the words above.
_hayward_names() {
    local -a names
    names=(${(f)"$(hayward __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#names} )); then
        compadd -a names
        return
    fi
    _hayward "$@"
}
compdef _hayward_names hayward
