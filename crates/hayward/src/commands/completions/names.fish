
# What hayward itself and the server know: kinds, names, values of flags.
function __hayward_names
    set -l words (commandline -opc) (commandline -ct)
    hayward __complete -- $words[2..-1] 2>/dev/null | string replace -r -- '^--[a-z-]+=' ''
end
complete -c hayward -f -n "__fish_seen_subcommand_from get describe edit patch delete history revert" -a "(__hayward_names)"
complete -c hayward -f -n "__fish_seen_subcommand_from config; and __fish_seen_subcommand_from set" -a "(__hayward_names)"
complete -c hayward -s o -l output -x -n "__fish_seen_subcommand_from get describe create" -a "(__hayward_names)"
complete -c hayward -s p -l project -x -n "__fish_seen_subcommand_from get describe create edit patch delete history revert apply diff" -a "(__hayward_names)"
complete -c hayward -s l -l selector -x -n "__fish_seen_subcommand_from get describe delete" -a "(__hayward_names)"
