//! Where and when: without it, figures say nothing.

use anyhow::Result;

use crate::step;

/// What the report says about the machine.
pub(crate) struct Machine {
    /// Day of the run.
    pub(crate) date: String,
    /// Processor, cores, memory, kernel.
    pub(crate) hardware: String,
    /// Compiler and compared tools.
    pub(crate) software: String,
    /// Load average before the run.
    pub(crate) load: String,
}

/// Looks.
pub(crate) fn describe() -> Result<Machine> {
    let say = |words: &[&str]| {
        let text = step::capture(step::command(words[0]).args(&words[1..]));
        text.map(|text| text.trim().to_owned())
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned();
    let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(gib).unwrap_or_default();
    let load = read("/proc/loadavg");
    Ok(Machine {
        date: say(&["date", "-u", "+%F"])?,
        hardware: format!(
            "{} × {processor}, {memory} GiB, Linux {}",
            say(&["nproc"])?,
            say(&["uname", "-r"])?
        ),
        software: say(&["rustc", "--version"])?,
        load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    })
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn gib(kib: &str) -> Option<u64> {
    let kib: u64 = kib.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "a : 1\nMemTotal:       2097152 kB\n";
        assert_eq!(field(text, "MemTotal").and_then(gib), Some(2));
        assert_eq!(field(text, "nothing"), None);
    }
}
