//! The messages of OTLP, in the types that OpenTelemetry itself generates from its definitions.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tracing::Level;

use super::logs::Line;
use super::span;
use crate::metrics::{BOUNDS, Family, Kind, Meters, Name, Point, Value};

/// The name of durations by the conventions for MCP: the same numbers as ours, under the names of a standard.
const MCP_DURATION: &str = "mcp.server.operation.duration";
/// Who tells.
#[derive(Clone, Debug)]
pub(super) struct Source {
    resource: Resource,
    scope: InstrumentationScope,
}

impl Source {
    pub(super) fn new(version: &str, attributes: &[(String, String)]) -> Self {
        let has = |key: &str| attributes.iter().any(|(known, _)| known == key);
        let own = [("service.name", "hayward"), ("service.version", version)];
        let own = own.into_iter().filter(|(key, _)| !has(key)).map(|(key, value)| text(key, value));
        let attributes = own.chain(attributes.iter().map(|(key, value)| text(key, value))).collect();
        let scope =
            InstrumentationScope { name: "hayward".into(), version: version.into(), ..Default::default() };
        Self { resource: Resource { attributes, ..Default::default() }, scope }
    }

    /// A request that holds these spans, which are encoded already.
    pub(super) fn spans(&self, spans: &[Vec<u8>]) -> Vec<u8> {
        // The messages around them have two fields each, and these are the same in all of them.
        const FIRST: u8 = 1 << 3 | 2;
        const SECOND: u8 = 2 << 3 | 2;
        let bytes: usize = spans.iter().map(Vec::len).sum();
        let mut of_scope = Vec::with_capacity(bytes + 4 * spans.len() + 64);
        span::bytes(&mut of_scope, FIRST, &self.scope.encode_to_vec());
        for span in spans {
            span::bytes(&mut of_scope, SECOND, span);
        }
        let mut of_resource = Vec::with_capacity(of_scope.len() + 256);
        span::bytes(&mut of_resource, FIRST, &self.resource.encode_to_vec());
        span::bytes(&mut of_resource, SECOND, &of_scope);
        let mut request = Vec::with_capacity(of_resource.len() + 8);
        span::bytes(&mut request, FIRST, &of_resource);
        request
    }

    pub(super) fn lines(&self, lines: Vec<Line>) -> Vec<u8> {
        let log_records = lines.into_iter().map(line).collect();
        let scope_logs =
            vec![ScopeLogs { scope: Some(self.scope.clone()), log_records, ..Default::default() }];
        let resource = Some(self.resource.clone());
        let resource_logs = vec![ResourceLogs { resource, scope_logs, ..Default::default() }];
        ExportLogsServiceRequest { resource_logs }.encode_to_vec()
    }

    pub(super) fn metrics(&self, meters: &Meters) -> Vec<u8> {
        let (start, now) = (nanos(meters.started()), nanos(SystemTime::now()));
        let families = meters.families();
        let standard = mcp_durations(&families, start, now);
        let own = families.iter().filter(|family| !family.points.is_empty());
        let own = own.map(|family| metric(family.full_name(meters.prefix()), family, start, now));
        let metrics = own.chain(standard).collect();
        let scope = Some(self.scope.clone());
        let scope_metrics = vec![ScopeMetrics { scope, metrics, ..Default::default() }];
        let resource = Some(self.resource.clone());
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..Default::default() }];
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
    }
}

/// How many a collector has not taken of what it was sent, though it said yes.
pub(super) fn rejected_spans(body: &[u8]) -> u64 {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    response.partial_success.map_or(0, |it| it.rejected_spans.try_into().unwrap_or(0))
}

/// The same of log records.
pub(super) fn rejected_lines(body: &[u8]) -> u64 {
    let response = ExportLogsServiceResponse::decode(body).unwrap_or_default();
    response.partial_success.map_or(0, |it| it.rejected_log_records.try_into().unwrap_or(0))
}

/// The same of numbers.
pub(super) fn rejected_points(body: &[u8]) -> u64 {
    let response = ExportMetricsServiceResponse::decode(body).unwrap_or_default();
    response.partial_success.map_or(0, |it| it.rejected_data_points.try_into().unwrap_or(0))
}

fn line(line: Line) -> LogRecord {
    let (number, word) = match line.level {
        Level::TRACE => (1, "TRACE"),
        Level::DEBUG => (5, "DEBUG"),
        Level::INFO => (9, "INFO"),
        Level::WARN => (13, "WARN"),
        Level::ERROR => (17, "ERROR"),
    };
    let at = nanos(line.at);
    let fields = line.fields.iter().map(|(key, value)| text(key, value));
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: number,
        severity_text: word.to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(line.message)) }),
        attributes: fields.chain([text("code.namespace", line.target)]).collect(),
        ..Default::default()
    }
}

fn metric(name: String, family: &Family, start: u64, now: u64) -> Metric {
    let unit = if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        ""
    };
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        Kind::Counter => {
            let data_points = family.points.iter().filter_map(|point| number(point, start, now)).collect();
            metric::Data::Sum(Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true })
        }
        Kind::Gauge => {
            let data_points = family.points.iter().filter_map(|point| number(point, 0, now)).collect();
            metric::Data::Gauge(Gauge { data_points })
        }
        Kind::Histogram => {
            let points = family.points.iter().filter_map(|point| durations(point, labels(point), start, now));
            metric::Data::Histogram(Histogram {
                data_points: points.collect(),
                aggregation_temporality: cumulative,
            })
        }
    };
    let (description, unit) = (family.help.to_owned(), unit.to_owned());
    Metric { name, description, unit, data: Some(data), ..Default::default() }
}

/// The durations of calls by the conventions for MCP.
fn mcp_durations(families: &[Family], start: u64, now: u64) -> Option<Metric> {
    let of = |name| families.iter().filter(move |family| family.name == Name::Ours(name));
    let label = |point: &Point| point.labels.first().map(|(_, word)| word.clone()).unwrap_or_default();
    let tools = of("tool_duration_seconds").flat_map(|family| &family.points).filter_map(|point| {
        let tool = text("gen_ai.tool.name", &label(point));
        let does = text("gen_ai.operation.name", "execute_tool");
        durations(point, vec![text("mcp.method.name", "tools/call"), does, tool], start, now)
    });
    let methods = of("method_duration_seconds")
        .flat_map(|family| &family.points)
        .filter_map(|point| durations(point, vec![text("mcp.method.name", &label(point))], start, now));
    let data_points: Vec<_> = tools.chain(methods).collect();
    if data_points.is_empty() {
        return None;
    }
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    Some(Metric {
        name: MCP_DURATION.to_owned(),
        description: "How long MCP requests took on the server.".to_owned(),
        unit: "s".to_owned(),
        data: Some(metric::Data::Histogram(Histogram { data_points, aggregation_temporality })),
        ..Default::default()
    })
}

fn labels(point: &Point) -> Vec<KeyValue> {
    point.labels.iter().map(|(key, word)| text(key, word)).collect()
}

fn number(point: &Point, start: u64, now: u64) -> Option<NumberDataPoint> {
    let value = match point.value {
        Value::Whole(value) => number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX)),
        Value::Number(value) => number_data_point::Value::AsDouble(value),
        Value::Durations(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: labels(point),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value),
        ..Default::default()
    })
}

fn durations(point: &Point, attributes: Vec<KeyValue>, start: u64, now: u64) -> Option<HistogramDataPoint> {
    let Value::Durations(counts) = &point.value else {
        return None;
    };
    Some(HistogramDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: counts.total(),
        sum: Some(counts.sum_s),
        bucket_counts: counts.buckets.clone(),
        explicit_bounds: BOUNDS.to_vec(),
        ..Default::default()
    })
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(Any::StringValue(value.to_owned()));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..Default::default() }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
