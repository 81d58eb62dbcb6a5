//! The text format of Prometheus, version 0.0.4.

use super::{BOUNDS, Counts, Family, Kind, Value};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels = [(&'static str, String)];

/// Appends a family; one without numbers is left out.
pub(super) fn write(text: &mut String, prefix: &str, family: &Family) {
    if family.points.is_empty() {
        return;
    }
    let name = family.full_name(prefix);
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    text.push_str(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help));
    for point in &family.points {
        match &point.value {
            Value::Whole(value) => line(text, &name, &point.labels, None, value),
            Value::Number(value) => line(text, &name, &point.labels, None, value),
            Value::Durations(counts) => durations(text, &name, &point.labels, counts),
        }
    }
}

fn durations(text: &mut String, name: &str, labels: &Labels, counts: &Counts) {
    let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    for (count, bound) in counts.buckets.iter().zip(bounds) {
        sum += count;
        line(text, &format!("{name}_bucket"), labels, Some(&bound), &sum);
    }
    line(text, &format!("{name}_sum"), labels, None, &counts.sum_s);
    line(text, &format!("{name}_count"), labels, None, &sum);
}

fn line(text: &mut String, name: &str, labels: &Labels, bound: Option<&str>, value: &impl ToString) {
    text.push_str(name);
    let labels = labels.iter().map(|(key, word)| (*key, word.as_str()));
    let all = labels.chain(bound.map(|bound| ("le", bound)));
    let mut is_first = true;
    for (key, word) in all {
        text.push_str(if is_first { "{" } else { "," });
        text.push_str(key);
        text.push_str("=\"");
        escape(text, word);
        text.push('"');
        is_first = false;
    }
    if !is_first {
        text.push('}');
    }
    text.push(' ');
    text.push_str(&value.to_string());
    text.push('\n');
}

fn escape(text: &mut String, word: &str) {
    for char in word.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Name, Point};
    use super::*;

    #[test]
    fn no_word_of_a_label_can_forge_a_line() {
        let point = Point { labels: vec![("tool", "a\"} 1\nb\\".to_owned())], value: Value::Whole(1) };
        let family = Family { name: Name::Ours("x"), help: "X.", kind: Kind::Counter, points: vec![point] };
        let mut text = String::new();
        write(&mut text, "p_", &family);
        assert_eq!(text, "# HELP p_x X.\n# TYPE p_x counter\np_x{tool=\"a\\\"} 1\\nb\\\\\"} 1\n");
    }
}
