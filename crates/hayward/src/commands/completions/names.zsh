
# What hayward itself and the server know: kinds, names, values of flags; where there is nothing, the words above.
_hayward_names() {
    local -a names open
    names=(${(f)"$(hayward __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#names} )); then
        # Something is to be written behind `=`.
        open=(${(M)names:#*=})
        names=(${names:#*=})
        (( ${#open} )) && compadd -S '' -a open
        (( ${#names} )) && compadd -a names
        return
    fi
    _hayward "$@"
}
compdef _hayward_names hayward
