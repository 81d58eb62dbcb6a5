//! The dashboard for Grafana asks for nothing that the binary doesn't serve.
#![cfg(test)]

use std::collections::HashSet;

use hayward_testkit::collector::{Collector, Mood};
use hayward_testkit::daemon::Daemon;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/hayward.json");

/// The words of the query language that the dashboard uses.
const LANGUAGE: [&str; 7] = ["sum", "by", "rate", "increase", "histogram_quantile", "time", "h"];
/// The label that whoever scrapes adds.
const OF_THE_SCRAPE: &str = "instance";

/// Every query of a source of metrics, and the query that finds instances.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let metrics = targets.filter(|target| target["datasource"]["type"] == "prometheus");
    metrics.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The words of a query that aren't texts, times or of the language.
fn words(query: &str) -> HashSet<String> {
    let whole = query.replace("${prefix}", "hayward_").replace("$__rate_interval", "");
    let outside: String = whole.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_alphabetic());
    words.filter(is_name).filter(|word| !LANGUAGE.contains(word)).map(ToOwned::to_owned).collect()
}

/// The names and labels that stand in the text of `/metrics`.
fn served(text: &str) -> HashSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| line.split('"').step_by(2)).flat_map(|outside| {
        outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(ToOwned::to_owned)
    });
    words.chain([OF_THE_SCRAPE.to_owned()]).collect()
}

#[tokio::test]
async fn every_name_and_label_that_the_dashboard_asks_for_is_served() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start(Mood::Takes).unwrap());
    let url = collector.url();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())];
    let daemon = Daemon::start_with(BINARY, &dir.path().join("data"), &variables).unwrap();
    daemon.call("rw", "bash_execute", json!({"command": "true"})).await.unwrap();
    let text = daemon.send("GET", "/metrics", daemon.token("metrics"), "").await.unwrap().body;
    let served = served(&text);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 15, "{queries:?}");
    for query in &queries {
        let missing: Vec<_> = words(query).into_iter().filter(|word| !served.contains(word)).collect();
        assert!(missing.is_empty(), "{missing:?} of `{query}` in\n{text}");
    }
    // And what is served of ours is asked for, so that nothing is forgotten.
    let asked: String = queries.join(" ").replace("${prefix}", "hayward_");
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE hayward_"));
    for family in families.map(|line| line.split(' ').next().unwrap()) {
        assert!(asked.contains(&format!("hayward_{family}")), "{family}");
    }
}

#[test]
fn a_query_for_something_else_is_found() {
    let words = words(r#"sum by (tool) (rate(${prefix}tool_calls_total{result="error"}[$__rate_interval]))"#);
    assert_eq!(words, HashSet::from(["tool", "hayward_tool_calls_total", "result"].map(ToOwned::to_owned)));
    let served = served("# HELP x\nhayward_tool_calls_total{tool=\"nothing\"} 1\n");
    assert!(served.contains("tool") && !served.contains("result") && !served.contains("nothing"));
}
