//! The `Link` header of a list: where its next page is (RFC 8288).

/// The value of `continue` in the address of the next page; none on the last.
pub(crate) fn next(header: &str) -> Option<String> {
    let target = header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| {
            let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
            name.eq_ignore_ascii_case("rel") && value.trim_matches('"').split(' ').any(|rel| rel == "next")
        };
        parameters.split(';').any(is_next).then_some(target)
    })?;
    // Only this is taken of it, so that a link leads nowhere else.
    let (_, query) = target.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "continue").map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_told_by_its_token_alone() {
        for (header, expect) in [
            ("</api/v1/servers?limit=2&continue=a%2Bb>; rel=\"next\"", Some("a+b")),
            ("<http://evil/?continue=x>; rel=next", Some("x")),
            ("</x?continue=1>; rel=\"prev\", </x?continue=2>; rel=\"last next\"", Some("2")),
            ("</x?continue=1>; rel=prev", None),
            ("</x>; rel=next", None),
            ("", None),
            ("<", None),
        ] {
            assert_eq!(next(header).as_deref(), expect, "{header}");
        }
    }
}
