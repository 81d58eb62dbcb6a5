#!/usr/bin/env bash
# Lists, calls and is refused with nothing but curl, as somebody would who reads the manual.
#
#   bash curl.sh --dir D --mode legacy|modern http URL
#
# Tokens come from the environment; one line of JSON goes to stdout.
set -euo pipefail

while [[ $1 == --* ]]; do
  declare "${1#--}=$2"
  shift 2
done
url=$2
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
failures=()
checks=0

# The header with the token comes from a file: an argument would show in the process list.
printf 'Authorization: Bearer %s\n' "$HAYWARD_RW_TOKEN" >"$work/rw"
printf 'Authorization: Bearer %s\n' "$HAYWARD_RO_TOKEN" >"$work/ro"

# ask ROLE METHOD NAME PARAMS: sends a request, prints the body.
ask() {
  local role=$1 method=$2 name=$3 params=$4 meta=''
  local headers=(-H "@$work/$role" -H 'Content-Type: application/json')
  if [[ $mode == modern ]]; then
    headers+=(-H 'MCP-Protocol-Version: 2026-07-28' -H "Mcp-Method: $method")
    [[ -z $name ]] || headers+=(-H "Mcp-Name: $name")
    meta='"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
    [[ -z $params ]] || meta=",$meta"
  fi
  curl --silent --show-error --max-time 20 "${headers[@]}" "$url" \
    --data "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$method\",\"params\":{$params$meta}}"
}

# check WHAT BODY PART…: each part must be in the body; with a leading `!`, must not.
check() {
  local what=$1 body=$2
  shift 2
  for part in "$@"; do
    checks=$((checks + 1))
    if [[ $part == !* ]]; then
      [[ $body != *"${part#!}"* ]] || failures+=("$what: has ${part#!}")
    else
      [[ $body == *"$part"* ]] || failures+=("$what: has no $part")
    fi
  done
}

if [[ $mode == legacy ]]; then
  hello='"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"curl","version":"1"}'
  check initialize "$(ask rw initialize '' "$hello")" '"protocolVersion":"2025-06-18"'
fi
check 'list as rw' "$(ask rw tools/list '' '')" '"bash_execute"' '"grep"'
check 'list as ro' "$(ask ro tools/list '' '')" '"read_file"' '!"bash_execute"'
command="\"name\":\"bash_execute\",\"arguments\":{\"command\":\"echo fine | tee $dir/made\"}"
check 'call as ro' "$(ask ro tools/call bash_execute "$command")" 'bash_execute'
[[ ! -e $dir/made ]] || failures+=('ro ran a command')
check 'call as rw' "$(ask rw tools/call bash_execute "$command")" 'fine' '"isError":false'
[[ -e $dir/made ]] || failures+=('rw ran no command')
broken='"name":"read_file","arguments":{}'
check 'missing argument' "$(ask rw tools/call read_file "$broken")" 'file_path' '!"isError":false'

list=$(printf '%s\n' "${failures[@]}" | sed 's/["\\]/\\&/g; s/.*/"&"/' | paste -sd,)
[[ ${#failures[@]} -gt 0 ]] || list=''
echo "{\"client\":\"curl $mode\",\"checks\":$checks,\"failures\":[$list]}"
[[ ${#failures[@]} -eq 0 ]]
