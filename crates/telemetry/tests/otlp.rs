//! What is pushed, at a collector that takes it, is slow, refuses it, or isn't there.
#![cfg(test)]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hayward_telemetry::limits::FLUSH_MAX;
use hayward_telemetry::metrics::{CallResult, Meters};
use hayward_telemetry::otlp::{Attribute, Batch, Ended, Otlp, Patience, Settings, Spans};
use hayward_testkit::collector::{Collector, Mood, texts};

const QUEUE: usize = 100;

fn settings(url: &str) -> Settings {
    let get = |variable: &str| match variable {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(url.to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("x-key=secret".to_owned()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("300".to_owned()),
        "OTEL_METRIC_EXPORT_INTERVAL" => Some("50".to_owned()),
        "OTEL_RESOURCE_ATTRIBUTES" => Some("host.name=nas".to_owned()),
        _ => None,
    };
    let batch = Batch { queue_max: QUEUE, batch_max: 10, delay: Duration::from_millis(20) };
    let patience = Patience { attempts: 2, first_wait: Duration::from_millis(20) };
    let settings = Settings::read(&get).unwrap().unwrap();
    Settings { span_batch: batch, log_batch: batch, patience, ..settings }
}

fn tell(spans: &Spans, count: usize) {
    for at in 0..count {
        let tool = at.to_string();
        let attributes = [("gen_ai.tool.name", Attribute::Text(&tool))];
        let ended =
            Ended { method: "tools/call", target: Some(&tool), attributes: &attributes, is_error: at == 0 };
        spans.end(spans.begin(None).unwrap(), Duration::from_millis(1), &ended);
    }
}

fn dropped(meters: &Meters, signal: &str) -> usize {
    let (text, start) = (meters.text(), format!("hayward_otlp_dropped_total{{signal=\"{signal}\"}} "));
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

fn metered() -> Arc<Meters> {
    let meters = Meters::new("hayward_", "1.2.3", &["/mcp"]);
    meters.tool("read_file").count("ro", CallResult::Ok, Duration::from_millis(3));
    Arc::new(meters)
}

#[test]
fn a_collector_gets_spans_and_metrics_with_who_tells_them_and_the_headers() {
    let collector = Collector::start(Mood::Takes).unwrap();
    let (otlp, meters) = (Otlp::new(settings(&collector.url())), metered());
    let pushing = otlp.start(Arc::clone(&meters)).unwrap();
    tell(&otlp.spans().unwrap(), 25);
    collector.until("spans", |collector| collector.spans().len() == 25).unwrap();
    collector.until("metrics", |collector| !collector.metrics().0.is_empty()).unwrap();
    pushing.end();

    let spans = collector.spans();
    let (first, second) = (&spans[0], &spans[1]);
    assert_eq!((first.name.as_str(), first.kind), ("tools/call 0", 2));
    assert!(first.trace_id.len() == 16 && first.span_id.len() == 8 && first.parent_span_id.is_empty());
    assert!(first.start_time_unix_nano > 0 && first.end_time_unix_nano >= first.start_time_unix_nano);
    let codes = [first, second].map(|span| span.status.as_ref().map(|status| status.code));
    assert_eq!(codes, [Some(2), None]);

    let (metrics, about) = collector.metrics();
    for expect in [("service.name", "hayward"), ("service.version", "1.2.3"), ("host.name", "nas")] {
        assert!(about.contains(&(expect.0.to_owned(), expect.1.to_owned())), "{expect:?}: {about:?}");
    }
    let named = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
    assert!(format!("{:?}", named("hayward_tool_calls_total").data).contains("is_monotonic: true"));
    let standard = named("mcp.server.operation.duration");
    assert_eq!(standard.unit, "s");
    let told = format!("{:?}", standard.data);
    for expect in ["read_file", "execute_tool", "tools/call", "count: 1"] {
        assert!(told.contains(expect), "{expect}: {told}");
    }
    let head = &collector.sent()[0].head;
    assert!(head.contains("x-key: secret\r\n") && head.contains("content-type: application/x-protobuf\r\n"));
    assert_eq!(["traces", "metrics", "logs"].map(|signal| dropped(&meters, signal)), [0; 3]);
}

#[test]
fn lines_of_the_log_are_pushed_with_their_secrets_taken_out() {
    let collector = Collector::start(Mood::Takes).unwrap();
    let otlp = Otlp::new(settings(&collector.url()));
    let config = hayward_telemetry::Config {
        level: "info".to_owned(),
        format: hayward_telemetry::Format::Text,
        ansi: false,
        logs: otlp.logs(),
    };
    let logging = hayward_telemetry::init(&config).unwrap();
    logging.filter(Box::new(|line| String::from_utf8_lossy(line).replace("hunter2", "***").into_bytes()));
    let pushing = otlp.start(metered()).unwrap();
    tracing::warn!(path = "/a hunter2", "failed with hunter2");
    tracing::debug!("not told on stderr, so not here");
    pushing.end();
    let records = collector.log_records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((records[0].severity_text.as_str(), records[0].severity_number), ("WARN", 13));
    let body = format!("{:?}", records[0].body);
    assert!(body.contains("failed with ***"), "{body}");
    assert!(texts(&records[0].attributes).contains(&("path".to_owned(), "/a ***".to_owned())));
}

/// Whatever a collector does, telling takes no time, what waits is bounded, what is lost is counted, and the end comes.
fn check_unwilling(url: &str) -> Arc<Meters> {
    let (otlp, meters) = (Otlp::new(settings(url)), metered());
    let pushing = otlp.start(Arc::clone(&meters)).unwrap();
    let spans = otlp.spans().unwrap();
    let (count, before) = (20 * QUEUE, Instant::now());
    tell(&spans, count);
    assert!(before.elapsed() < Duration::from_secs(1), "a call waited for {:?}", before.elapsed());
    assert!(dropped(&meters, "traces") >= count - 2 * QUEUE, "{}", dropped(&meters, "traces"));
    let before = Instant::now();
    pushing.end();
    assert!(before.elapsed() < FLUSH_MAX + Duration::from_secs(2), "{:?}", before.elapsed());
    assert!(dropped(&meters, "metrics") > 0);
    meters
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let meters = check_unwilling(&format!("http://{free}"));
    assert_eq!(dropped(&meters, "traces"), 20 * QUEUE);
}

#[test]
fn a_collector_that_never_answers_holds_nobody_up() {
    let collector = Collector::start(Mood::Hangs).unwrap();
    check_unwilling(&collector.url());
}

#[test]
fn a_collector_that_refuses_holds_nobody_up_and_is_not_asked_twice() {
    let collector = Collector::start(Mood::Refuses(400)).unwrap();
    let meters = check_unwilling(&collector.url());
    assert_eq!(dropped(&meters, "traces"), 20 * QUEUE);
    let asked = collector.sent().iter().filter(|sent| sent.path == "/v1/traces").count();
    assert!(asked <= 2 * QUEUE / 10, "{asked}");
}

#[test]
fn what_a_busy_collector_did_not_take_is_sent_again() {
    let collector = Collector::start(Mood::Refuses(503)).unwrap();
    let (otlp, meters) = (Otlp::new(settings(&collector.url())), metered());
    let pushing = otlp.start(Arc::clone(&meters)).unwrap();
    tell(&otlp.spans().unwrap(), 1);
    collector.until("the first attempt", |collector| collector.spans().len() == 1).unwrap();
    collector.set(Mood::Takes);
    collector.until("the second attempt", |collector| collector.spans().len() == 2).unwrap();
    pushing.end();
    let spans = collector.spans();
    assert_eq!((spans.len(), &spans[0].span_id), (2, &spans[1].span_id));
    assert_eq!(dropped(&meters, "traces"), 0);
}

#[test]
fn what_a_collector_rejects_of_a_batch_is_counted() {
    let collector = Collector::start(Mood::Rejects(3)).unwrap();
    let (otlp, meters) = (Otlp::new(settings(&collector.url())), metered());
    let pushing = otlp.start(Arc::clone(&meters)).unwrap();
    tell(&otlp.spans().unwrap(), 10);
    collector.until("spans", |collector| collector.spans().len() == 10).unwrap();
    pushing.end();
    assert_eq!(dropped(&meters, "traces"), 3);
}
