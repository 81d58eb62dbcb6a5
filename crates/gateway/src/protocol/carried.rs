//! What a client carries from one round of a call to the next, before it is sealed: the state of the call, and the id that all its
//! rounds have in the record.

use std::sync::Arc;

use hayward_mcp::limits::STATE_CONTENT_BYTES_MAX;

/// Stands before and behind the id. No JSON begins with it.
const MARK: u8 = 1;

/// Puts both into one. If there is no room for the id, the state goes alone, and the next round begins anew in the record.
pub(super) fn join(correlation_id: &str, state: &[u8]) -> Vec<u8> {
    let room = STATE_CONTENT_BYTES_MAX.saturating_sub(state.len());
    if correlation_id.len() + 2 > room || correlation_id.as_bytes().contains(&MARK) {
        return state.to_vec();
    }
    [&[MARK], correlation_id.as_bytes(), &[MARK], state].concat()
}

/// Takes them apart.
pub(super) fn part(mut content: Vec<u8>) -> (Option<Arc<str>>, Vec<u8>) {
    let Some(rest) = content.strip_prefix(&[MARK]) else { return (None, content) };
    let Some(end) = rest.iter().position(|byte| *byte == MARK) else { return (None, content) };
    let id = std::str::from_utf8(&rest[..end]).ok().map(Arc::from);
    (id, content.split_off(end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_come_back_as_they_went_and_a_state_that_fills_everything_goes_alone() {
        let largest = vec![b'1'; STATE_CONTENT_BYTES_MAX];
        for (id, state, expect) in [
            ("r1", &b"{\"held\":\"x\"}"[..], Some("r1")),
            ("", b"1", Some("")),
            ("r1", &largest, None),
            ("r1", &largest[..STATE_CONTENT_BYTES_MAX - 4], Some("r1")),
            ("a\u{1}b", b"{}", None),
        ] {
            let content = join(id, state);
            assert!(content.len() <= STATE_CONTENT_BYTES_MAX);
            let (told, back) = part(content);
            assert_eq!((told.as_deref(), &*back), (expect, state));
        }
        assert_eq!(part(vec![MARK]), (None, vec![MARK]));
    }
}
