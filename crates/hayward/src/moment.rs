//! Moments on the command line: a time, or how far away it is.

use jiff::{Timestamp, ToSpan as _};

/// On which side of now a moment lies that is told by how far away it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ahead,
    Ago,
}

/// Reads e.g. `2027-01-31T00:00:00Z`, or `90s`, `5m`, `12h`, `30d` from now.
pub(crate) fn parse(text: &str, side: Side) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong =
        || format!("`{text}` is no time such as 2027-01-31T00:00:00Z, and no duration such as 12h or 30d");
    let seconds = seconds(text).ok_or_else(wrong)?;
    let span = 0.seconds().try_seconds(seconds).map_err(|_| wrong())?;
    let now = Timestamp::now();
    let moment = match side {
        Side::Ahead => now.checked_add(span),
        Side::Ago => now.checked_sub(span),
    };
    moment.map_err(|_| wrong())
}

/// Seconds of a number and its unit.
fn seconds(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let count = &text[..text.len() - unit.len_utf8()];
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    is_number.then(|| count.parse::<i64>().ok())??.checked_mul(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_far_away_it_is() {
        for side in [Side::Ahead, Side::Ago] {
            assert_eq!(parse("2026-01-31T00:00:00Z", side), Ok("2026-01-31T00:00:00Z".parse().unwrap()));
        }
        for (text, seconds) in [("0d", 0), ("90s", 90), ("5m", 300), ("2h", 7_200), ("7d", 604_800)] {
            let past = parse(text, Side::Ago).unwrap();
            let ago = Timestamp::now().duration_since(past).as_secs();
            assert!((seconds..seconds + 5).contains(&ago), "{text}");
            let ahead = parse(text, Side::Ahead).unwrap().duration_since(Timestamp::now()).as_secs();
            assert!((seconds - 5..=seconds).contains(&ahead), "{text}");
        }
        for bad in
            ["", "h", "yesterday", "5w", "9999999999999999d", "9999999999999d", "-", "-3d", "+3d", "5ä"]
        {
            assert!(parse(bad, Side::Ago).is_err() && parse(bad, Side::Ahead).is_err(), "{bad}");
        }
    }
}
