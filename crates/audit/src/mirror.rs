//! A copy of the record in the form of mymcp's `audit.log`, for whatever follows that file.
//!
//! It follows the record as any reader does: calls never wait for it, it can't fail them, and it proves nothing. After a
//! start it goes on behind the last call that it holds.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Map, Value};

use crate::calls::{Call, Calls};
use crate::error::AuditError;
use crate::follow::Follow;
use crate::limits::{Limits, MIRROR_PAUSE};
use crate::reader::Line;

/// The file that is written.
const FILE: &str = "audit.log";

/// What writes the copy, until it is dropped.
#[derive(Debug)]
pub struct Mirror {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    is_over: Mutex<bool>,
    told: Condvar,
}

impl Mirror {
    /// Copies the record of this folder into `audit.log` in `folder`, which is made if need be.
    pub fn start(record: &Path, folder: &Path, limits: &Limits) -> Result<Self, AuditError> {
        fs::create_dir_all(folder).map_err(AuditError::io("make", folder))?;
        let mut copy = Copy::open(folder.join(FILE), limits)?;
        let (record, stop) = (record.to_owned(), Arc::<Stop>::default());
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("audit-copy".to_owned())
            .spawn(move || copy.follow(&record, &told))
            .map_err(AuditError::io("start the thread that copies the record", folder))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        *self.stop.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.told.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that copies the record has panicked");
        }
    }
}

/// The file, and what is to be written to it.
struct Copy {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_kept: u64,
    calls: Calls,
    /// The last call that is in the file.
    last: u64,
    /// Lines that wait to be written.
    waiting: VecDeque<Vec<u8>>,
    /// Whether the log knows that they can't be written.
    is_told: bool,
}

impl Copy {
    fn open(path: PathBuf, limits: &Limits) -> Result<Self, AuditError> {
        let last = last_seq(&path).map_err(AuditError::io("read", &path))?;
        let file = append(&path).map_err(AuditError::io("open", &path))?;
        let bytes = file.metadata().map_err(AuditError::io("look at", &path))?.len();
        Ok(Self {
            path,
            file,
            bytes,
            bytes_max: limits.copy_bytes_max,
            files_kept: limits.copy_files_kept,
            calls: Calls::default(),
            last,
            waiting: VecDeque::new(),
            is_told: false,
        })
    }

    fn follow(&mut self, record: &Path, stop: &Stop) {
        let mut follow = None;
        loop {
            // Read before it is asked whether this is the end, so that the end is copied, too.
            let is_over = *stop.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            let copied = self.copy(record, &mut follow).and_then(|()| self.write());
            if let Err(error) = copied.inspect_err(|_| follow = None)
                && !std::mem::replace(&mut self.is_told, true)
            {
                tracing::error!(%error, "the copy of the record can't be written; calls go on");
            }
            if is_over {
                return;
            }
            let over = stop.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            drop(stop.told.wait_timeout_while(over, MIRROR_PAUSE, |is_over| !*is_over));
        }
    }

    /// Takes what has come since. What can't be written holds up what comes behind it.
    fn copy(&mut self, record: &Path, follow: &mut Option<Follow>) -> Result<(), AuditError> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        if let Some(follow) = follow {
            return follow.read(|line| self.take(&line));
        }
        self.calls = Calls::default();
        *follow = Some(Follow::open(record, |line| self.take(&line))?);
        Ok(())
    }

    fn take(&mut self, line: &Line) {
        if let Line::Record(record) = line
            && let Some(call) = self.calls.take(record)
            && last_of(&call) > self.last
        {
            self.waiting.push_back(line_of(&call));
            self.last = last_of(&call);
        }
    }

    fn write(&mut self) -> Result<(), AuditError> {
        while let Some(line) = self.waiting.pop_front() {
            if let Err(error) = self.write_line(&line) {
                self.waiting.push_front(line);
                return Err(AuditError::io("write", &self.path)(error));
            }
        }
        self.is_told = false;
        Ok(())
    }

    fn write_line(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// `audit.log` becomes `audit.log.1`, that one `audit.log.2`, and so on; the last one goes.
    fn rotate(&mut self) -> std::io::Result<()> {
        let numbered = |number: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.files_kept).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        if self.files_kept == 0 {
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&self.path, numbered(1))?;
        }
        (self.file, self.bytes) = (append(&self.path)?, 0);
        Ok(())
    }
}

/// The number of the record that ended a call: calls are copied in that order.
fn last_of(call: &Call) -> u64 {
    call.text("outcome.seq").parse().unwrap_or_else(|_| call.seq())
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// The number of the last call that the file holds; 0 if there is none.
fn last_seq(path: &Path) -> std::io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut last = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line: Value = serde_json::from_slice(&line?).unwrap_or_default();
        last = line.get("seq").and_then(Value::as_u64).unwrap_or(last);
    }
    Ok(last)
}

/// A call in the words of mymcp, and with the number that it has in the record.
fn line_of(call: &Call) -> Vec<u8> {
    let text = |path: &str| Some(call.text(path)).filter(|text| !text.is_empty());
    let ip = call.text("client_address").parse::<SocketAddr>().map(|address| address.ip().to_string());
    // What a tool refuses itself is an error there.
    let result = match (call.text("ending").as_str(), call.value("outcome.seq")) {
        ("ok", _) => "ok",
        ("denied", None) => "denied",
        _ => "error",
    };
    let mut line = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        line.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("ts", text("time").map(Value::from));
    put("token_name", Some(call.text("principal.name").into()));
    put("role", Some(call.text("principal.role").into()));
    put("ip", Some(ip.unwrap_or_default().into()));
    put("tool", Some(call.text("tool").into()));
    put("params", Some(call.value("arguments").cloned().unwrap_or_else(|| Map::new().into())));
    put("result", Some(result.into()));
    put("request_id", text("request_id").map(Value::from));
    if result == "denied" {
        put("reason", text("reason").map(Value::from));
        put("count", call.value("count").filter(|count| **count != 1).cloned());
    } else {
        if result == "error" {
            put("error_code", text("outcome.code").map(Value::from));
            put("error_message", text("outcome.message").map(Value::from));
        }
        put("duration_ms", call.value("outcome.duration_ms").cloned());
    }
    put("seq", Some(last_of(call).into()));
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use hayward_api::{Ending, Principal, Tier};

    use super::*;
    use crate::{Intent, Log, LogConfig, Outcome, redact};

    fn call(log: &Log, tool: &str, ending: Ending) {
        let (principal, arguments) = (Principal::local("me", Tier::Operate), redact::arguments(r#"{"a":1}"#));
        let intent = Intent {
            request_id: "r",
            principal: &principal,
            client_address: Some(SocketAddr::from(([10, 0, 0, 7], 1))),
            client_name: None,
            traceparent: None,
            protocol: None,
            server: "host",
            method: "tools/call",
            tool,
            tier: None,
            arguments: &arguments,
            raw_arguments: None,
            decision: "allow",
        };
        if ending == Ending::Denied {
            log.denied_often(&intent, "no", 3).write().unwrap();
            return;
        }
        let seq = log.intent(&intent).write().unwrap();
        let code = (ending != Ending::Ok).then_some("TimeoutError");
        let outcome = Outcome { ending, code, message: code, duration_ms: Some(5), result_digest: None };
        log.outcome(seq, &outcome).unwrap().write().unwrap();
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn wait_for(path: &Path, count: usize) -> Vec<Value> {
        let started = Instant::now();
        while lines(path).len() < count {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", lines(path));
            thread::yield_now();
        }
        lines(path)
    }

    #[test]
    fn every_call_is_copied_once_in_the_words_of_mymcp_also_across_restarts() {
        let (record, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("logs").join(FILE);
        let log = Log::open(record.path(), LogConfig::default()).unwrap();
        call(&log, "before", Ending::Ok);
        let mirror = Mirror::start(record.path(), path.parent().unwrap(), &Limits::default()).unwrap();
        call(&log, "slow", Ending::Timeout);
        let all = wait_for(&path, 2);
        assert_eq!(
            (&all[0]["tool"], &all[0]["result"], &all[0]["duration_ms"]),
            (&"before".into(), &"ok".into(), &5.into())
        );
        assert_eq!(
            (&all[0]["token_name"], &all[0]["ip"], &all[0]["params"]["a"]),
            (&"me".into(), &"10.0.0.7".into(), &1.into())
        );
        assert_eq!((&all[1]["result"], &all[1]["error_code"]), (&"error".into(), &"TimeoutError".into()));
        // What comes just before the end is copied, and what comes in between is when it starts again.
        call(&log, "last", Ending::Denied);
        drop(mirror);
        call(&log, "between", Ending::Ok);
        drop(Mirror::start(record.path(), path.parent().unwrap(), &Limits::default()).unwrap());
        let all = lines(&path);
        let tools: Vec<_> = all.iter().map(|line| line["tool"].as_str().unwrap()).collect();
        assert_eq!(tools, ["before", "slow", "last", "between"]);
        assert_eq!(
            (&all[2]["result"], &all[2]["reason"], &all[2]["count"]),
            (&"denied".into(), &"no".into(), &3.into())
        );
    }

    #[test]
    fn the_copy_is_bounded_in_size_and_number_of_files() {
        let (record, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let limits = Limits { copy_bytes_max: 1_024, copy_files_kept: 2, ..Limits::default() };
        let log = Log::open(record.path(), LogConfig::default()).unwrap();
        for _ in 0..50 {
            call(&log, "t", Ending::Ok);
        }
        drop(Mirror::start(record.path(), folder.path(), &limits).unwrap());
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
        for name in &names {
            let path = folder.path().join(name);
            assert!(fs::metadata(&path).unwrap().len() <= 1_024 && !lines(&path).is_empty(), "{name}");
        }
        let newest = lines(&folder.path().join(FILE)).pop().unwrap();
        assert_eq!(newest["seq"], 101, "the last one of fifty calls behind the mark");
    }

    #[test]
    fn a_copy_that_can_not_be_written_costs_no_call_and_goes_on_later() {
        let (record, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = Log::open(record.path(), LogConfig::default()).unwrap();
        call(&log, "first", Ending::Ok);
        let limits = Limits { copy_bytes_max: 1_024, copy_files_kept: 1, ..Limits::default() };
        let mirror = Mirror::start(record.path(), folder.path(), &limits).unwrap();
        let path = folder.path().join(FILE);
        wait_for(&path, 1);
        // A folder in the place of the next file: it can't be put aside.
        fs::create_dir_all(folder.path().join("audit.log.1/x")).unwrap();
        for _ in 0..9 {
            call(&log, "more", Ending::Ok);
        }
        drop(mirror);
        assert!(lines(&path).last().unwrap()["seq"].as_u64().unwrap() < 21, "it could not be written");
        fs::remove_dir_all(folder.path().join("audit.log.1")).unwrap();
        drop(Mirror::start(record.path(), folder.path(), &limits).unwrap());
        assert_eq!(lines(&path).pop().unwrap()["seq"], 21);
    }
}
