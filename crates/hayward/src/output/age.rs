//! Moments as people say them: how long ago, or in how long.

use jiff::Timestamp;

/// `3d`, `in 5m`; none if it is no moment (RFC 3339).
pub(crate) fn age(text: &str, now: Timestamp) -> Option<String> {
    // Cheaper than to parse what can't be one.
    if text.len() < 20 || !text.as_bytes()[0].is_ascii_digit() || text.as_bytes()[4] != b'-' {
        return None;
    }
    let seconds = now.as_second() - text.parse::<Timestamp>().ok()?.as_second();
    Some(if seconds < 0 {
        format!("in {}", rounded(seconds.unsigned_abs()))
    } else {
        rounded(seconds.unsigned_abs())
    })
}

/// So many seconds, in the unit that matters.
pub(crate) fn rounded(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{minutes}m"),
        7_200..172_800 => format!("{hours}h"),
        172_800..63_072_000 => format!("{days}d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_by_how_far_away_it_is() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, expect) in [
            ("2026-01-31T11:59:30Z", Some("30s")),
            ("2026-01-31T11:50:00Z", Some("10m")),
            ("2026-01-31T02:00:00.5Z", Some("10h")),
            ("2026-01-01T12:00:00Z", Some("30d")),
            ("2026-03-02T12:00:00Z", Some("in 30d")),
            ("2020-01-01T00:00:00Z", Some("6y")),
            ("1.2.3", None),
            ("2026-07-28", None),
            ("2026-99-31T11:59:30Z", None),
            ("ääääääääääääääääääääääää", None),
        ] {
            assert_eq!(age(text, now).as_deref(), expect, "{text}");
        }
    }
}
