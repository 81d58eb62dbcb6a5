//! A copy of the record in the form of mymcp's `audit.log`, for whatever follows that file, or as a stream.
//!
//! It follows the record as any reader does: calls never wait for it, it can't fail them, and it proves nothing. After a
//! start a file goes on behind the last call that it holds; a stream tells what comes from then on.

mod sink;

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use serde_json::{Map, Value};

use crate::calls::{Call, Calls};
use crate::error::AuditError;
use crate::follow::Follow;
use crate::limits::{Limits, MIRROR_END, MIRROR_PAUSE};
use crate::reader::Line;

use sink::Sink;

/// What writes the copy, until it is dropped.
#[derive(Debug)]
pub struct Mirror {
    stop: Arc<Stop>,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Stop {
    is_over: Mutex<bool>,
    told: Condvar,
}

impl Mirror {
    /// Copies the record of this folder into `audit.log` in `folder`, which is made if need be.
    pub fn start(record: &Path, folder: &Path, limits: &Limits) -> Result<Self, AuditError> {
        let (sink, last) = Sink::file(folder, limits)?;
        Self::spawn(record, Copy::new(sink, Some(last)))
    }

    /// Writes what the record of this folder says from now on to a stream, a line in one piece.
    pub fn to_stream(record: &Path, stream: impl Write + Send + 'static) -> Result<Self, AuditError> {
        Self::spawn(record, Copy::new(Sink::Stream(Box::new(stream)), None))
    }

    fn spawn(record: &Path, mut copy: Copy) -> Result<Self, AuditError> {
        // What there is by now is known before anything new comes.
        let mut follow = copy.open(record).map(Some)?;
        let (stop, (end, ended)) = (Arc::<Stop>::default(), sync_channel(0));
        let failed = AuditError::io("start the thread that copies", record);
        let (record, told) = (record.to_owned(), Arc::clone(&stop));
        let run = move || {
            copy.follow(&record, &mut follow, &told);
            drop(end);
        };
        thread::Builder::new().name("audit-copy".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { stop, ended })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        *self.stop.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.told.notify_all();
        // Whoever doesn't read our output, and a disk that hangs, must not keep us from ending.
        if self.ended.recv_timeout(MIRROR_END) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the copy of the record is not whole: what it goes to takes nothing");
        }
    }
}

/// What is still to be written, and where it goes.
struct Copy {
    sink: Sink,
    calls: Calls,
    /// The last call that was written; none if only what comes is written.
    last: Option<u64>,
    /// Lines that wait to be written.
    waiting: VecDeque<Vec<u8>>,
    /// Whether the log knows that they can't be written.
    is_told: bool,
}

impl Copy {
    fn new(sink: Sink, last: Option<u64>) -> Self {
        Self { sink, calls: Calls::default(), last, waiting: VecDeque::new(), is_told: false }
    }

    /// Reads the record from its beginning.
    fn open(&mut self, record: &Path) -> Result<Follow, AuditError> {
        self.calls = Calls::default();
        let follow = Follow::open(record, |line| self.take(&line))?;
        self.last.get_or_insert(0);
        Ok(follow)
    }

    fn follow(&mut self, record: &Path, follow: &mut Option<Follow>, stop: &Stop) {
        loop {
            // Read before it is asked whether this is the end, so that the end is copied, too.
            let is_over = *stop.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            let copied = self.copy(record, follow).and_then(|()| self.write());
            if let Err(error) = copied.inspect_err(|_| *follow = None)
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
        *follow = Some(self.open(record)?);
        Ok(())
    }

    fn take(&mut self, line: &Line) {
        if let Line::Record(record) = line
            && let Some(call) = self.calls.take(record)
            && call.is_made()
            && let Some(last) = self.last
            && last_of(&call) > last
        {
            self.waiting.push_back(line_of(&call));
            self.last = Some(last_of(&call));
        }
    }

    fn write(&mut self) -> Result<(), AuditError> {
        while let Some(line) = self.waiting.pop_front() {
            if let Err(error) = self.sink.write(&line) {
                self.waiting.push_front(line);
                return Err(AuditError::io("write", self.sink.path())(error));
            }
        }
        self.is_told = false;
        Ok(())
    }
}

/// The number of the record that ended a call: calls are copied in that order.
fn last_of(call: &Call) -> u64 {
    call.text("outcome.seq").parse().unwrap_or_else(|_| call.seq())
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
    use std::fs;
    use std::time::{Duration, Instant};

    use hayward_api::{Ending, Principal, Source, Tier};

    use super::sink::FILE;
    use super::*;
    use crate::{Intent, Log, LogConfig, Outcome, redact};

    fn call(log: &Log, tool: &str, ending: Ending) {
        let (principal, arguments) = (Principal::local("me", Tier::Operate), redact::arguments(r#"{"a":1}"#));
        let intent = Intent {
            request_id: "r",
            principal: &principal,
            source: Source::peer(Some(SocketAddr::from(([10, 0, 0, 7], 1)))),
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
            part_of: crate::record::PartOf::default(),
            sent: crate::record::Sent::default(),
        };
        if ending == Ending::Denied {
            log.denied_often(&intent, "no", 3).write().unwrap();
            return;
        }
        let seq = log.intent(&intent).write().unwrap();
        let code = (ending != Ending::Ok).then_some("TimeoutError");
        let outcome = Outcome { code, message: code, duration_ms: Some(5), ..Outcome::bare(ending) };
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
