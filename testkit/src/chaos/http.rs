//! It over HTTP: answers are JSON, or streams of events where something is to be seen of a fault.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::acts::{Act, Said, befall};
use super::fault::Fault;
use super::lines::{grumble, wait};
use super::{Chaos, Reply, held};

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// Bytes of a long line that are written at once.
const PIECE: &[u8] = &[b'x'; 1 << 16];

/// How often it is looked whether somebody has given up.
const LOOK: Duration = Duration::from_millis(10);

/// What was read of a request.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

/// Serves for ever; where is written to a file. `GET /told` says which calls wait, and which were given up.
pub(super) fn serve(chaos: Chaos, ready: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", chaos.options.port))?;
    let draft = ready.with_extension("draft");
    std::fs::write(&draft, listener.local_addr()?.port().to_string())?;
    std::fs::rename(&draft, ready).context("where it listens can't be told")?;
    let chaos = Arc::new(chaos);
    for stream in listener.incoming() {
        let (stream, chaos) = (stream?, Arc::clone(&chaos));
        thread::spawn(move || converse(&chaos, stream).ok());
    }
    Ok(())
}

/// Answers one request after the other, until one of both hangs up.
fn converse(chaos: &Chaos, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        if request.method == "GET" && request.path == "/told" {
            let told = json!({"cancelled": *held(&chaos.cancelled), "waiting": *held(&chaos.waiting)});
            let told = told.to_string();
            whole(&mut stream, 200, told.as_bytes())?;
            return stream.shutdown(Shutdown::Write);
        }
        if request.method != "POST" {
            whole(&mut stream, if request.method == "DELETE" { 200 } else { 405 }, b"")?;
            continue;
        }
        let Ok(message) = serde_json::from_slice::<Value>(&request.body) else {
            whole(&mut stream, 400, b"")?;
            continue;
        };
        match chaos.take(&message) {
            Reply::Nothing => whole(&mut stream, 202, b"")?,
            Reply::Said(bytes) => whole(&mut stream, 200, &bytes)?,
            Reply::Act(Fault::None, said) => whole(&mut stream, 200, &said.answer())?,
            Reply::Act(fault, said) => return play(chaos, &mut stream, fault, &said),
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(ToOwned::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, body }))
}

fn whole(stream: &mut TcpStream, status: u16, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Chaos\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())
}

fn event(stream: &mut TcpStream, data: &[u8]) -> io::Result<()> {
    stream.write_all(&[b"data: ", data, b"\n\n"].concat())
}

fn play(chaos: &Chaos, stream: &mut TcpStream, fault: Fault, said: &Said) -> io::Result<()> {
    if Fault::OF_HTTP.contains(&fault) {
        return fail(stream, fault, said);
    }
    if fault == Fault::Silent {
        return until_gone(chaos, stream, said, false);
    }
    stream.write_all(STREAM)?;
    for act in said.acts(fault) {
        match act {
            Act::Say(bytes) => event(stream, &bytes)?,
            Act::Again(bytes, count) => {
                for _ in 0..count {
                    event(stream, &bytes)?;
                }
            }
            Act::Long(before, bytes, behind) => {
                stream.write_all(&[b"data: ", &*before].concat())?;
                for _ in 0..bytes / PIECE.len() {
                    stream.write_all(PIECE)?;
                }
                stream.write_all(&[&*behind, b"\n\n"].concat())?;
            }
            Act::Grumble(lines) => grumble(lines)?,
            Act::Wait(duration) => wait(duration),
            Act::UntilCancelled => until_gone(chaos, stream, said, true)?,
            Act::Change => chaos.change(),
            // What a process can't do over HTTP is a reset.
            Act::Suffer(Fault::Closes) => return reset(stream),
            Act::Suffer(fault) => befall(fault)?,
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// Says nothing until whoever asked hangs up or says that it has given up, which is noted.
fn until_gone(chaos: &Chaos, stream: &mut TcpStream, said: &Said, notes_marks: bool) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    if notes_marks {
        held(&chaos.waiting).push(said.mark.clone());
    }
    let id = said.id.to_string();
    loop {
        let is_gone = match stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        };
        if is_gone || chaos.is_cancelled(&id) {
            if notes_marks {
                held(&chaos.cancelled).push(said.mark.clone());
            }
            return Ok(());
        }
    }
}

/// A connection that fails while it carries an answer.
fn fail(stream: &mut TcpStream, fault: Fault, said: &Said) -> io::Result<()> {
    let answer = said.answer();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    let half = [head.as_bytes(), &answer[..answer.len() / 2]].concat();
    match fault {
        Fault::Status500 => return whole(stream, 500, b"{}"),
        Fault::Garbage => stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n")?,
        Fault::HalfClose => stream.write_all(&half)?,
        Fault::Drip => {
            for byte in [head.as_bytes(), &*answer].concat() {
                stream.write_all(&[byte])?;
                wait(Duration::from_millis(100));
            }
        }
        _ => {
            stream.write_all(&half)?;
            return reset(stream);
        }
    }
    stream.shutdown(Shutdown::Write)
}

fn reset(stream: &mut TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))?;
    stream.shutdown(Shutdown::Read)
}
