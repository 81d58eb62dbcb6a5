//! What commands left that a dead daemon had run, in the words of the record.

use std::collections::BTreeMap;
use std::time::Duration;

use hayward_exec::{Ending, Leftover, Spool};

/// How long a start waits for the supervisors of a daemon that died: they end their commands and say how.
const PATIENCE: Duration = Duration::from_secs(5);

/// How each of them ended, by the number of its call in the record.
pub(crate) fn collect(spool: &Spool) -> BTreeMap<u64, String> {
    let leftovers = spool.collect(PATIENCE).unwrap_or_else(|error| {
        tracing::warn!(%error, "how commands of a dead daemon ended can't be read, and is not told");
        Vec::new()
    });
    leftovers.iter().filter_map(|left| Some((left.label.intent()?, how_it_ended(left)))).collect()
}

fn how_it_ended(left: &Leftover) -> String {
    let how = match left.ending {
        Some(Ending::Signaled { signal: 9 }) if left.was_killed => "its command was killed then".to_owned(),
        Some(Ending::Signaled { signal }) => format!("its command had been ended by signal {signal}"),
        Some(Ending::Exited { code }) => format!("its command had ended with exit code {code}"),
        Some(Ending::TimedOut | Ending::Cancelled) | None => "how its command ended is not known".to_owned(),
    };
    match left.stuck {
        0 => how,
        stuck => format!("{how}, and {stuck} of its processes hung in the kernel"),
    }
}

#[cfg(test)]
mod tests {
    use hayward_exec::Label;

    use super::*;

    fn left(label: &str, ending: Option<Ending>, was_killed: bool, stuck: usize) -> Leftover {
        Leftover { label: Label::new(label).unwrap(), ending, was_killed, stuck }
    }

    #[test]
    fn it_is_told_whether_a_command_was_killed_or_had_ended() {
        let killed = Some(Ending::Signaled { signal: 9 });
        assert_eq!(how_it_ended(&left("1-a", killed, true, 0)), "its command was killed then");
        assert_eq!(how_it_ended(&left("1-a", killed, false, 0)), "its command had been ended by signal 9");
        let exited = Some(Ending::Exited { code: 7 });
        assert_eq!(how_it_ended(&left("1-a", exited, false, 0)), "its command had ended with exit code 7");
        let told = how_it_ended(&left("1-a", None, true, 2));
        assert_eq!(told, "how its command ended is not known, and 2 of its processes hung in the kernel");
    }
}
