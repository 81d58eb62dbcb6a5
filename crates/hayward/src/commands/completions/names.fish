
# Kinds, and names of resources that the server knows.
function __hayward_names
    set -l words (commandline -opc) (commandline -ct)
    hayward __complete -- $words[2..-1] 2>/dev/null
end
complete -c hayward -f -n "__fish_seen_subcommand_from get describe edit patch delete history revert" -a "(__hayward_names)"
