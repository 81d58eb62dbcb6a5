//! What the standard variables of OpenTelemetry say, checked as a whole.
//!
//! An empty variable is one that isn't set. What is asked for and can't be done is a fault, not a surprise.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::{OTLP_BATCH_MAX, OTLP_QUEUE_MAX};

/// Where one signal goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The whole address.
    pub url: String,
    /// What every request carries, credentials among it.
    pub headers: HeaderMap,
    /// How long one request may take.
    pub timeout: Duration,
}

/// How much waits, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// How many wait at most; further ones are dropped.
    pub queue_max: usize,
    /// How many go together at most.
    pub batch_max: usize,
    /// How long one waits for company.
    pub delay: Duration,
}

/// Which traces are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether a trace of the client's is told if the client tells it.
    pub is_parent_based: bool,
    /// The part of the others that is told, from 0 to 1.
    pub ratio: f64,
}

/// How often something is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often it is tried altogether.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles from there.
    pub first_wait: Duration,
}

/// Where telemetry goes, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where traces go.
    pub traces: Option<Target>,
    /// Where metrics go.
    pub metrics: Option<Target>,
    /// Where logs go.
    pub logs: Option<Target>,
    /// What the sender is described by.
    pub resource: Vec<(String, String)>,
    /// Which traces are told.
    pub sampler: Sampler,
    /// How often metrics are pushed.
    pub metric_interval: Duration,
    /// How spans wait.
    pub span_batch: Batch,
    /// How log records wait.
    pub log_batch: Batch,
    /// How often a push is tried.
    pub patience: Patience,
}

/// A variable that can't be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Only protobuf over HTTP is spoken.
    #[error("`{variable}` is `{value}`: only `http/protobuf` is spoken; collectors take it on port 4318")]
    Protocol {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
    },
    /// It stands for nothing that is known here.
    #[error("`{variable}` is `{value}`: use {expected}")]
    Word {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// It is no address. What it is isn't shown: there may be a password in it.
    #[error("`{variable}` is no address: write `http://HOST:PORT` or `https://HOST`")]
    Address {
        /// The variable.
        variable: String,
    },
    /// Certificates are those that the machine trusts.
    #[error(
        "`{variable}` can't be followed: collectors are trusted by the certificates of this machine, or of `SSL_CERT_FILE`"
    )]
    Certificate {
        /// The variable.
        variable: String,
    },
    /// It is no list of pairs. What it is isn't shown: there may be a credential in it.
    #[error("`{variable}` is no list of pairs: write `name=value,name=value`, with %2C for a comma")]
    Pairs {
        /// The variable.
        variable: String,
    },
}

const SIGNALS: [&str; 3] = ["TRACES", "METRICS", "LOGS"];

/// Reads variables, and remembers what is wrong with them.
struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
}

impl Settings {
    /// Reads the variables. None if nothing is to be pushed.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, Vec<Fault>> {
        let mut reader = Reader { get, faults: Vec::new() };
        if reader.flag("OTEL_SDK_DISABLED") {
            return Ok(None);
        }
        let [traces, metrics, logs] = SIGNALS.map(|signal| reader.target(signal));
        if traces.is_none() && metrics.is_none() && logs.is_none() && reader.faults.is_empty() {
            return Ok(None);
        }
        let settings = Self {
            traces,
            metrics,
            logs,
            resource: reader.resource(),
            sampler: reader.sampler(),
            metric_interval: reader.millis("OTEL_METRIC_EXPORT_INTERVAL", 60_000),
            span_batch: reader.batch("OTEL_BSP", 5000),
            log_batch: reader.batch("OTEL_BLRP", 1000),
            patience: Patience { attempts: 5, first_wait: Duration::from_secs(1) },
        };
        // What is said of all signals was read for each of them.
        let mut faults = reader.faults;
        let mut told = std::collections::HashSet::new();
        faults.retain(|fault| told.insert(fault.to_string()));
        if faults.is_empty() { Ok(Some(settings)) } else { Err(faults) }
    }
}

impl Reader<'_> {
    fn text(&self, variable: &str) -> Option<String> {
        (self.get)(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn flag(&self, variable: &str) -> bool {
        self.text(variable).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The variable of this signal, else that of all.
    fn of_signal(&self, signal: &str, suffix: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}"), format!("OTEL_EXPORTER_OTLP_{suffix}")]
            .into_iter()
            .find_map(|variable| self.text(&variable).map(|text| (variable, text)))
    }

    fn word(&mut self, variable: &str, value: &str, expected: &'static str) {
        let (variable, value) = (variable.to_owned(), value.to_owned());
        self.faults.push(Fault::Word { variable, value, expected });
    }

    fn target(&mut self, signal: &str) -> Option<Target> {
        let exporter = format!("OTEL_{signal}_EXPORTER");
        match self.text(&exporter).as_deref() {
            None | Some("otlp") => {}
            Some("none") => return None,
            Some(other) => self.word(&exporter, other, "`otlp` or `none`"),
        }
        let url = self.url(signal)?;
        // `http` is mymcp's word for it.
        let is_spoken = |word: &str| matches!(word, "http/protobuf" | "http");
        if let Some((variable, value)) = self.of_signal(signal, "PROTOCOL").filter(|(_, it)| !is_spoken(it)) {
            self.faults.push(Fault::Protocol { variable, value });
        }
        if let Some((variable, value)) = self.of_signal(signal, "COMPRESSION").filter(|(_, it)| it != "none")
        {
            self.word(&variable, &value, "`none`");
        }
        for suffix in ["CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"] {
            if let Some((variable, _)) = self.of_signal(signal, suffix) {
                self.faults.push(Fault::Certificate { variable });
            }
        }
        let timeout = match self.of_signal(signal, "TIMEOUT") {
            Some((variable, _)) => self.millis(&variable, 10_000),
            None => Duration::from_secs(10),
        };
        Some(Target { url, headers: self.headers(signal), timeout })
    }

    fn url(&mut self, signal: &str) -> Option<String> {
        let (variable, text) = self.of_signal(signal, "ENDPOINT")?;
        let is_whole = variable.contains(signal);
        let path = format!("/v1/{}", signal.to_ascii_lowercase());
        let url = if is_whole { text } else { format!("{}{path}", text.trim_end_matches('/')) };
        let is_address = url.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_address {
            self.faults.push(Fault::Address { variable });
            return None;
        }
        Some(url)
    }

    fn headers(&mut self, signal: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some((variable, text)) = self.of_signal(signal, "HEADERS") else {
            return headers;
        };
        for (name, value) in self.pairs(&variable, &text) {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                _ => self.faults.push(Fault::Pairs { variable: variable.clone() }),
            }
        }
        headers
    }

    fn pairs(&mut self, variable: &str, text: &str) -> Vec<(String, String)> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim();
            (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
        };
        let pairs = text.split(',').filter(|it| !it.trim().is_empty()).map(pair).collect::<Option<_>>();
        pairs.unwrap_or_else(|| {
            self.faults.push(Fault::Pairs { variable: variable.to_owned() });
            Vec::new()
        })
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let variable = "OTEL_RESOURCE_ATTRIBUTES";
        let text = self.text(variable).unwrap_or_default();
        let mut pairs = self.pairs(variable, &text);
        let named = self.text("OTEL_SERVICE_NAME");
        if let Some(name) = named {
            pairs.retain(|(key, _)| key != "service.name");
            pairs.push(("service.name".to_owned(), name));
        }
        pairs
    }

    fn sampler(&mut self) -> Sampler {
        let variable = "OTEL_TRACES_SAMPLER";
        let word = self.text(variable).unwrap_or_else(|| "parentbased_always_on".to_owned());
        let is_parent_based = word.starts_with("parentbased_");
        let ratio = match word.trim_start_matches("parentbased_") {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.ratio(),
            _ => {
                self.word(variable, &word, "`[parentbased_]always_on`, `…always_off` or `…traceidratio`");
                1.0
            }
        };
        Sampler { is_parent_based, ratio }
    }

    fn ratio(&mut self) -> f64 {
        let variable = "OTEL_TRACES_SAMPLER_ARG";
        let text = self.text(variable).unwrap_or_else(|| "1".to_owned());
        match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.word(variable, &text, "a number from 0 to 1");
                1.0
            }
        }
    }

    fn millis(&mut self, variable: &str, default: u64) -> Duration {
        Duration::from_millis(self.whole(variable, default, 86_400_000))
    }

    fn batch(&mut self, prefix: &str, delay_ms: u64) -> Batch {
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let queue_max = size(self.whole(&format!("{prefix}_MAX_QUEUE_SIZE"), 2048, OTLP_QUEUE_MAX));
        let batch_max = size(self.whole(&format!("{prefix}_MAX_EXPORT_BATCH_SIZE"), 512, OTLP_BATCH_MAX));
        let delay = self.millis(&format!("{prefix}_SCHEDULE_DELAY"), delay_ms);
        Batch { queue_max, batch_max: batch_max.min(queue_max), delay }
    }

    fn whole(&mut self, variable: &str, default: u64, max: u64) -> u64 {
        let Some(text) = self.text(variable) else {
            return default;
        };
        match text.parse() {
            Ok(number) if (1..=max).contains(&number) => number,
            _ => {
                self.word(variable, &text, "a whole number from 1 to what is sensible");
                default
            }
        }
    }
}

/// Text with its `%XX` resolved; none if that is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, Vec<Fault>> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::read(&get)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/");

    #[test]
    fn without_an_endpoint_nothing_is_pushed() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_SERVICE_NAME", "x")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
        ] {
            assert!(read(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[test]
    fn one_endpoint_serves_all_signals_and_one_of_a_signal_is_taken_as_it_is() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs.example.org/in"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20YWI6Yw==, x-scope=a%2Cb"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http"),
        ])
        .unwrap()
        .unwrap();
        let traces = settings.traces.unwrap();
        assert_eq!(traces.url, "http://localhost:4318/v1/traces");
        assert_eq!((traces.headers["authorization"].to_str().unwrap()), "Basic YWI6Yw==");
        assert_eq!(traces.headers["x-scope"], "a,b");
        assert_eq!(traces.timeout, Duration::from_millis(250));
        assert!(!format!("{:?}", traces.headers).contains("YWI6"), "credentials are not shown");
        assert_eq!(settings.logs.unwrap().url, "https://logs.example.org/in");
        assert!(settings.metrics.is_none());
    }

    #[test]
    fn grpc_is_refused_by_name() {
        let faults = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        let (variable, value) = ("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "grpc".to_owned());
        assert_eq!(faults[0], Fault::Protocol { variable, value });
        assert!(faults[0].to_string().contains("only `http/protobuf` is spoken"));
        // Without an endpoint it doesn't matter.
        assert!(read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap().is_none());
    }

    #[test]
    fn all_faults_are_told_together_and_none_shows_a_credential() {
        let faults = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:hunter2@host"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://host"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
            ("OTEL_LOGS_EXPORTER", "console"),
        ])
        .unwrap_err();
        let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for expect in [
            "ENDPOINT",
            "HEADERS",
            "OTLP_CERTIFICATE",
            "gzip",
            "sometimes",
            "INTERVAL",
            "many",
            "ATTRIBUTES",
            "console",
        ] {
            assert!(text.contains(expect), "{expect}: {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn samplers_are_those_of_the_standard() {
        for (word, argument, is_parent_based, ratio) in [
            ("", "", true, 1.0),
            ("always_on", "0.5", false, 1.0),
            ("parentbased_always_off", "", true, 0.0),
            ("traceidratio", "0.25", false, 0.25),
            ("parentbased_traceidratio", "", true, 1.0),
        ] {
            let variables = [ENDPOINT, ("OTEL_TRACES_SAMPLER", word), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let sampler = read(&variables).unwrap().unwrap().sampler;
            assert_eq!(sampler, Sampler { is_parent_based, ratio }, "{word}");
        }
        let bad = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(read(&bad).is_err());
    }

    #[test]
    fn the_name_of_the_service_stands_above_its_attributes() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=prod"),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        let resource = settings.unwrap().unwrap().resource;
        assert_eq!(resource.last().unwrap(), &("service.name".to_owned(), "b".to_owned()));
        assert_eq!(resource.len(), 2);
    }
}
