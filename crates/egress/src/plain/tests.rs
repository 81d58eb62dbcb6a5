//! Requests to servers that behave as they like.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

use http::{Method, Request};

use super::*;

/// What takes longer than this has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than the buffers of a connection hold.
const LARGE: usize = 64 << 20;

/// A server that serves each of its connections by one of these, in this order.
struct Server {
    url: String,
    thread: JoinHandle<()>,
}

type Serve = Box<dyn FnOnce(TcpStream) + Send>;

fn serving(connections: Vec<Serve>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        for serve in connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            serve(stream);
        }
    });
    Server { url, thread }
}

/// Reads one request of a head and so many bytes.
fn heard(stream: &mut TcpStream, body: usize) -> String {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "a request was to come");
        heard.push(byte[0]);
    }
    let mut rest = vec![0; body];
    stream.read_exact(&mut rest).unwrap();
    String::from_utf8([heard, rest].concat()).unwrap()
}

/// Answers so many requests of two bytes like this.
fn answers(times: usize, answer: &'static [u8]) -> Serve {
    Box::new(move |mut stream| {
        for _ in 0..times {
            heard(&mut stream, 2);
            stream.write_all(answer).unwrap();
        }
    })
}

fn plain(silence_timeout: Duration) -> Arc<Plain> {
    Plain::new(Reach::Anywhere, 1, (TIMEOUT, silence_timeout))
}

fn request(url: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::builder().method(Method::POST).uri(url).body(body.into()).unwrap()
}

/// What is answered, and the body if all of it came.
async fn ask(plain: &Arc<Plain>, url: &str) -> Result<(StatusCode, Result<Vec<u8>, PlainError>), PlainError> {
    let mut response = plain.send(request(url, "{}")).await?;
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok((response.status, Ok(body))),
            Err(error) => return Ok((response.status, Err(error))),
        }
    }
}

async fn asked(plain: &Arc<Plain>, url: &str) -> (u16, String) {
    let (status, body) = ask(plain, url).await.unwrap();
    (status.as_u16(), String::from_utf8(body.unwrap()).unwrap())
}

#[tokio::test]
async fn requests_go_over_one_connection_as_long_as_it_lasts() {
    let server = serving(vec![
        Box::new(|mut stream| {
            for answer in [
                &b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"[..],
                b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
                b"HTTP/1.1 204 No Content\r\n\r\n",
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfour",
            ] {
                heard(&mut stream, 2);
                stream.write_all(answer).unwrap();
            }
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it was told that this is the last one");
        }),
        answers(1, b"HTTP/1.1 200 OK\r\n\r\nuntil it is closed"),
        answers(1, b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold"),
        answers(1, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast"),
    ]);
    let plain = plain(TIMEOUT);
    for expect in [
        (200, "one"),
        (202, "two"),
        (204, ""),
        (200, "four"),
        (200, "until it is closed"),
        (200, "old"),
        (200, "last"),
    ] {
        let (status, body) = asked(&plain, &server.url).await;
        assert_eq!((status, &*body), expect);
    }
    server.thread.join().unwrap();
}

#[tokio::test]
async fn who_closes_a_connection_between_two_requests_gets_the_second_over_another() {
    let (close, closing) = mpsc::sync_channel::<()>(1);
    let server = serving(vec![
        Box::new(move |mut stream| {
            heard(&mut stream, 2);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").unwrap();
            closing.recv().unwrap();
        }),
        answers(1, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"),
    ]);
    let plain = plain(TIMEOUT);
    assert_eq!(asked(&plain, &server.url).await.1, "one");
    close.send(()).unwrap();
    // Until that is seen here.
    while plain.idle().wires.values().flatten().any(Idle::is_fit) {
        tokio::task::yield_now().await;
    }
    assert_eq!(asked(&plain, &server.url).await.1, "two");
    server.thread.join().unwrap();
}

#[test]
fn a_connection_is_not_used_again_when_what_wakes_whoever_waits_for_it_is_gone() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
    let (end, ended) = mpsc::sync_channel::<()>(1);
    let server = serving(vec![
        Box::new(move |mut stream| {
            heard(&mut stream, 2);
            stream.write_all(answer).unwrap();
            // The connection lasts while the other one is used.
            std::thread::spawn(move || (stream, ended.recv()));
        }),
        answers(1, answer),
    ]);
    let plain = plain(TIMEOUT);
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(asked(&plain, &server.url)).1, "one");
    }
    end.send(()).unwrap();
    server.thread.join().unwrap();
}

#[tokio::test]
async fn what_nobody_asked_for_is_no_answer_to_the_next_request() {
    let server = serving(vec![
        Box::new(|mut stream| {
            heard(&mut stream, 2);
            let both = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\noneHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
            stream.write_all(both).unwrap();
        }),
        answers(1, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"),
    ]);
    let plain = plain(TIMEOUT);
    assert_eq!(asked(&plain, &server.url).await.1, "one");
    assert_eq!(asked(&plain, &server.url).await.1, "two");
    server.thread.join().unwrap();
}

#[tokio::test]
async fn a_request_that_was_heard_is_not_sent_again() {
    let server = serving(vec![Box::new(|mut stream| {
        heard(&mut stream, 2);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").unwrap();
        heard(&mut stream, 2);
    })]);
    let plain = plain(TIMEOUT);
    assert_eq!(asked(&plain, &server.url).await.1, "one");
    let error = ask(&plain, &server.url).await.unwrap_err();
    assert!(matches!(error, PlainError::Broken(_)) && error.may_have_arrived(), "{error:?}");
    server.thread.join().unwrap();
}

#[tokio::test]
async fn who_refuses_before_it_has_heard_all_is_heard_and_told_no_more() {
    let (told, hears) = std::sync::mpsc::sync_channel(1);
    let server = serving(vec![
        Box::new(move |mut stream| {
            stream.write_all(b"HTTP/1.1 413 Too Long\r\ncontent-length: 2\r\n\r\nno").unwrap();
            // Who reads as fast as it is sent has heard all before its answer is seen.
            hears.recv().unwrap();
            let heard = std::io::copy(&mut stream, &mut std::io::sink());
            // However it was closed.
            assert!(heard.is_ok_and(|heard| heard < LARGE as u64));
        }),
        answers(1, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"),
    ]);
    let plain = plain(TIMEOUT);
    let mut response = plain.send(request(&server.url, vec![b'x'; LARGE])).await.unwrap();
    assert_eq!(
        (response.status, response.chunk().await.unwrap()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("no".into()))
    );
    assert_eq!(response.chunk().await.unwrap(), None);
    told.send(()).unwrap();
    assert_eq!(asked(&plain, &server.url).await.1, "two", "the rest of it was still to be sent there");
    server.thread.join().unwrap();
}

#[tokio::test]
async fn who_takes_a_request_hears_it_to_the_end_whatever_it_says_meanwhile() {
    for early in [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"] {
        let server = serving(vec![Box::new(move |mut stream| {
            stream.write_all(early).unwrap();
            let head = heard(&mut stream, 0);
            assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
            let heard = std::io::copy(&mut (&stream).take(LARGE as u64), &mut std::io::sink());
            assert_eq!(heard.unwrap(), LARGE as u64);
            if !early.ends_with(b"3\r\n\r\n") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n").unwrap();
            }
            stream.write_all(b"one").unwrap();
        })]);
        let plain = plain(TIMEOUT);
        let mut response = plain.send(request(&server.url, vec![b'x'; LARGE])).await.unwrap();
        assert_eq!((response.status.as_u16(), response.chunk().await.unwrap()), (200, Some("one".into())));
        server.thread.join().unwrap();
    }
}

#[tokio::test]
async fn idle_connections_are_closed_though_nobody_asks_any_more() {
    let (close, closing) = mpsc::sync_channel::<()>(1);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
    let server = serving(vec![Box::new(move |mut stream| {
        heard(&mut stream, 2);
        stream.write_all(answer).unwrap();
        closing.recv().unwrap();
    })]);
    let plain = plain(TIMEOUT);
    assert_eq!(asked(&plain, &server.url).await.1, "one");
    tokio::time::pause();
    let resting = || plain.idle().wires.values().map(Vec::len).sum::<usize>();
    tokio::time::sleep(LOOK_EVERY * 2).await;
    assert_eq!(resting(), 1);
    close.send(()).unwrap();
    server.thread.join().unwrap();
    tokio::time::sleep(LOOK_EVERY * 2).await;
    assert_eq!((resting(), plain.tasks.len()), (0, 0));
}

#[tokio::test]
async fn what_waits_for_a_request_keeps_no_room_of_a_large_answer() {
    let server = serving(vec![Box::new(|mut stream| {
        heard(&mut stream, 2);
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; LARGE]).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    })]);
    let plain = plain(TIMEOUT);
    let mut response = plain.send(request(&server.url, "{}")).await.unwrap();
    response.want(LARGE);
    let piece = response.chunk().await.unwrap().unwrap();
    assert_eq!(piece.len(), LARGE);
    let wire = plain.idle().wires.values_mut().flat_map(std::mem::take).next().unwrap().wire;
    assert!(piece.try_into_mut().is_ok(), "somebody else has it, too");
    drop(wire);
    server.thread.join().unwrap();
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error_however_often_it_is_asked_for() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\none"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
    ] {
        let server = serving(vec![answers(1, answer)]);
        let mut response = plain(TIMEOUT).send(request(&server.url, "{}")).await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "one");
        for _ in 0..2 {
            assert!(matches!(response.chunk().await, Err(PlainError::Broken(_))));
        }
        server.thread.join().unwrap();
    }
}

#[tokio::test]
async fn who_wants_large_pieces_gets_them_where_so_much_is_to_come() {
    let (go_on, going_on) = mpsc::sync_channel::<()>(1);
    let server = serving(vec![Box::new(move |mut stream| {
        heard(&mut stream, 2);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none").unwrap();
        going_on.recv().unwrap();
        stream.write_all(b"two").unwrap();
        going_on.recv().unwrap();
        stream.write_all(b"tri").unwrap();
        heard(&mut stream, 2);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour").unwrap();
    })]);
    let plain = plain(TIMEOUT);
    let mut response = plain.send(request(&server.url, "{}")).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "one", "whoever wants nothing gets what there is");
    response.want(usize::MAX);
    go_on.send(()).unwrap();
    let early = timeout(Duration::from_millis(50), response.chunk()).await;
    assert!(early.is_err(), "not all of it is there");
    go_on.send(()).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "twotri");
    let mut response = plain.send(request(&server.url, "{}")).await.unwrap();
    response.want(9);
    assert!(matches!(response.chunk().await, Err(PlainError::Broken(_))), "it is cut off");
    server.thread.join().unwrap();
}

#[tokio::test]
async fn what_is_no_http_and_who_says_nothing_are_told_apart() {
    for answer in [&b"220 mail ready\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
        let server = serving(vec![answers(1, answer)]);
        let error = ask(&plain(TIMEOUT), &server.url).await.unwrap_err();
        assert!(matches!(error, PlainError::NoHttp(_)) && error.may_have_arrived(), "{error:?}");
        server.thread.join().unwrap();
    }
    let (end, ended) = mpsc::sync_channel::<()>(1);
    let server = serving(vec![Box::new(move |mut stream| {
        heard(&mut stream, 2);
        ended.recv().unwrap();
    })]);
    let error = ask(&plain(Duration::from_millis(50)), &server.url).await.unwrap_err();
    assert!(matches!(error, PlainError::Silent(_)) && error.may_have_arrived(), "{error:?}");
    end.send(()).unwrap();
    server.thread.join().unwrap();
    let error = ask(&plain(TIMEOUT), "http://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(error, PlainError::Connect(_)) && !error.may_have_arrived(), "{error:?}");
}

#[tokio::test]
async fn who_leaves_in_the_middle_closes_the_connection() {
    let server = serving(vec![Box::new(|mut stream| {
        heard(&mut stream, 2);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    })]);
    let mut response = plain(TIMEOUT).send(request(&server.url, "{}")).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "one");
    drop(response);
    server.thread.join().unwrap();
}
