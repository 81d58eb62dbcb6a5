//! The client end under the official conformance suite, which starts this with the address of a server as its last
//! argument and the scenario in `MCP_CONFORMANCE_SCENARIO`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hayward_egress::{Client, Options as EgressOptions, Reach, Trust};
use hayward_mcp::abilities::{Abilities, Ability};
use hayward_mcp::error::RpcError;
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::List;
use hayward_mcp::upstream::{
    Asked, Connect, EraChoice, Event, Http, Options, Outgoing, Step, Upstream, UpstreamError, Wire,
};
use hayward_runtime::Dial;
use hayward_runtime::oauth::{Authorizer, Challenge, Client as OauthClient, Grant, Identity};
use http::HeaderMap;
use http::header::{AUTHORIZATION, LOCATION};
use serde_json::{Value, json};
use url::Url;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How often a person would be asked before it is given up.
const ASKED_MAX: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().next_back().ok_or("no address")?;
    #[expect(clippy::disallowed_methods, reason = "the suite says so in the environment")]
    let said = |name: &str| std::env::var(name).unwrap_or_default();
    let context = serde_json::from_str(&said("MCP_CONFORMANCE_CONTEXT")).unwrap_or_default();
    let is_modern = said("MCP_CONFORMANCE_PROTOCOL_VERSION") == "2026-07-28";
    let scenario = Scenario { name: said("MCP_CONFORMANCE_SCENARIO"), context, is_modern };
    let connect: Arc<dyn Connect> = Arc::new(Dial::new(egress()?));
    let authorizer = Authorizer::new(Arc::clone(&connect), url.parse()?, scenario.identity()?);
    let mut grant: Option<Grant> = None;
    for _ in 0..ASKED_MAX {
        let headers = grant.iter().map(|grant| (AUTHORIZATION, grant.authorization())).collect();
        let wanted = match scenario.run(&connect, &url, &headers).await {
            Err(error) => challenge_of(&*error).ok_or(error)?,
            Ok(()) => return Ok(()),
        };
        let pending = authorizer.begin(&wanted, grant.as_ref()).await?;
        let query = browse(&connect, &pending.url).await?;
        grant = Some(authorizer.finish(pending, &query).await?);
    }
    Err("it is not granted".into())
}

fn egress() -> Result<Client> {
    Ok(Client::with(&EgressOptions {
        connect_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_mins(1),
        trust: Trust::Nobody,
        idle_connections_max: 4,
        reach: Reach::Anywhere,
    })?)
}

/// What the upstream wants, if that is why it refused.
fn challenge_of(error: &(dyn Error + 'static)) -> Option<Challenge> {
    match error.downcast_ref()? {
        UpstreamError::Unauthorized { challenge, .. } => {
            Some(Challenge::read(challenge.as_deref().unwrap_or_default()))
        }
        _ => None,
    }
}

/// A person's browser, whose person agrees at once: where it is sent back to says the rest.
async fn browse(connect: &Arc<dyn Connect>, url: &Url) -> Result<String> {
    let request = http::Request::get(url.as_str()).body(bytes::Bytes::new())?;
    let answer = connect.send(request).await?;
    let back = answer.headers().get(LOCATION).ok_or("nobody is sent back")?.to_str()?;
    Ok(Url::parse(back)?.query().unwrap_or_default().to_owned())
}

struct Scenario {
    name: String,
    context: Value,
    is_modern: bool,
}

impl Scenario {
    fn identity(&self) -> Result<Identity> {
        let known = |key: &str| self.context[key].as_str().map(ToOwned::to_owned);
        Ok(Identity {
            name: "hayward".to_owned(),
            redirect_uri: "http://127.0.0.1:8765/oauth/callback".parse()?,
            document: Some("https://conformance-test.local/client-metadata.json".parse()?),
            known: known("issuer")
                .zip(known("client_id"))
                .map(|(issuer, id)| (issuer, OauthClient::new(id, known("client_secret")))),
            issuer: None,
            scopes: Vec::new(),
        })
    }

    async fn run(&self, connect: &Arc<dyn Connect>, url: &str, headers: &HeaderMap) -> Result<()> {
        let upstream = self.connect(Arc::clone(connect), url, headers).await?;
        let client = Tester { upstream, is_modern: self.is_modern };
        match self.name.as_str() {
            "initialize" | "request-metadata" | "json-schema-ref-no-deref" => {
                client.list(List::Tools).await?;
            }
            "json-schema-2020-12-preservation" => client.echo_schema().await?,
            "tools_call" => client.call("add_numbers", &json!({"a": 5, "b": 3})).await?,
            "http-custom-headers" => {
                for call in self.context["toolCalls"].as_array().into_iter().flatten() {
                    let name = call["name"].as_str().ok_or("a call without a name")?;
                    client.call(name, &call["arguments"]).await?;
                }
            }
            "http-invalid-tool-headers" => client.call_all(&json!({"region": "x"})).await?,
            "http-standard-headers" => client.use_all().await?,
            _ => client.call_all(&json!({})).await?,
        }
        client.upstream.close().await;
        Ok(())
    }

    async fn connect(
        &self,
        connect: Arc<dyn Connect>,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Arc<Upstream>> {
        let (http, mut events, driver) = Http::over(connect, &url.parse()?, headers, 1 << 20);
        tokio::spawn(driver);
        let client = Raw::of(&json!({"name": "hayward", "version": env!("CARGO_PKG_VERSION")}))?;
        let options = Options {
            abilities: Abilities::from(Ability::ElicitForm),
            era: if self.is_modern { EraChoice::Modern } else { EraChoice::Auto },
            ..Options::new(client)
        };
        let upstream = Arc::new(Upstream::connect(Wire::Http(http), options).await?);
        let asked = Arc::clone(&upstream);
        tokio::spawn(async move {
            // What it asks on the stream of the session, and not on that of the call which it asks for.
            while let Some(event) = events.next().await {
                if let Event::Request(question) = event {
                    answer(&asked, question).await.unwrap_or_default();
                }
            }
        });
        Ok(upstream)
    }
}

/// Answers what a legacy upstream asks.
async fn answer(upstream: &Upstream, asked: Asked) -> Result<()> {
    let request = &asked.request;
    let answer = if request.method == "elicitation/create" {
        let params: Value = request.params.as_ref().map(Raw::view).transpose()?.unwrap_or_default();
        Ok(Raw::of(&accepted(&params))?)
    } else {
        Err(RpcError::method_not_found(&request.method))
    };
    Ok(upstream.answer(&asked, answer).await?)
}

struct Tester {
    upstream: Arc<Upstream>,
    is_modern: bool,
}

impl Tester {
    async fn list(&self, list: List) -> Result<Vec<Raw>> {
        Ok(self.upstream.list(list).await??.elements)
    }

    /// Calls every tool that can be called, with those of the arguments that it knows.
    async fn call_all(&self, arguments: &Value) -> Result<()> {
        for tool in self.list(List::Tools).await? {
            let tool: Value = tool.view()?;
            let known = &tool["inputSchema"]["properties"];
            let given = arguments.as_object().into_iter().flatten();
            let given: serde_json::Map<_, _> = given
                .filter(|(name, _)| known.get(name).is_some())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            self.call(tool["name"].as_str().unwrap_or_default(), &Value::Object(given)).await?;
        }
        Ok(())
    }

    /// Says what was listed back, to the letter.
    async fn echo_schema(&self) -> Result<()> {
        let tools = self.list(List::Tools).await?;
        let described = tools.iter().filter_map(Object::of);
        let mut schemas =
            described.filter(|tool| tool.get_str("name").as_deref() != Some("json_schema_echo"));
        let schema = schemas.find_map(|tool| tool.get("inputSchema")).ok_or("no schema")?;
        let arguments = ObjectWriter::new(256).raw("schema", &schema).end();
        self.call("json_schema_echo", &arguments.view()?).await
    }

    async fn use_all(&self) -> Result<()> {
        self.call_all(&json!({})).await?;
        for (list, method, key) in
            [(List::Resources, "resources/read", "uri"), (List::Prompts, "prompts/get", "name")]
        {
            for element in self.list(list).await? {
                let name: Value = element.view::<Value>()?[key].take();
                let name = name.as_str().unwrap_or_default();
                let params = ObjectWriter::new(64).str(key, name).end();
                self.walk(Outgoing::new(method, Some(&params)).on(name)).await?;
            }
        }
        Ok(())
    }

    /// Calls a tool, unless what it says of itself can't be called over HTTP, and answers what it asks.
    async fn call(&self, name: &str, arguments: &Value) -> Result<()> {
        let tools = self.list(List::Tools).await?;
        let tool =
            tools.iter().filter_map(Object::of).find(|tool| tool.get_str("name").as_deref() == Some(name));
        let schema = tool.and_then(|tool| tool.get("inputSchema")).ok_or("no such tool")?;
        let Ok(mirrored) = ParamHeaders::of(&schema) else { return Ok(()) };
        let mut params =
            ObjectWriter::new(128).str("name", name).raw("arguments", &Raw::of(arguments)?).end();
        loop {
            let outgoing = Outgoing {
                mirrored: Some(&mirrored),
                abilities: Abilities::from(Ability::ElicitForm),
                ..Outgoing::new("tools/call", Some(&params)).on(name)
            };
            let result = self.walk(outgoing).await?;
            let Some(asked) = Object::of(&result)
                .filter(|it| it.get_str("resultType").as_deref() == Some("input_required"))
            else {
                return Ok(());
            };
            let requests = asked.get_object("inputRequests").unwrap_or_else(Object::empty);
            let mut responses = ObjectWriter::new(128);
            for request in requests.iter() {
                let asked: Value = request.value().view()?;
                responses = responses.raw(&request.key(), &Raw::of(&accepted(&asked["params"]))?);
            }
            let answered = ObjectWriter::new(256)
                .str("name", name)
                .raw("arguments", &Raw::of(arguments)?)
                .raw("inputResponses", &responses.end());
            params = match asked.get("requestState") {
                Some(state) => answered.raw("requestState", &state).end(),
                None => answered.end(),
            };
        }
    }

    async fn walk(&self, outgoing: Outgoing<'_>) -> Result<Raw> {
        let mut exchange = self.upstream.request(&outgoing).await?;
        loop {
            match exchange.next().await? {
                Step::Request(asked) => answer(&self.upstream, asked).await?,
                Step::Progress(_) | Step::Notification(_) => {}
                Step::Response(Ok(result)) => return Ok(result),
                Step::Response(Err(error)) if self.is_modern => return Err(RpcError::of(&error).into()),
                Step::Response(Err(_)) => return Ok(Raw::empty_object()),
            }
        }
    }
}

/// A form that is accepted as it stands: every field has its default, and a flag without one is set.
fn accepted(params: &Value) -> Value {
    let fields = params["requestedSchema"]["properties"].as_object().into_iter().flatten();
    let content: serde_json::Map<_, _> = fields
        .filter_map(|(name, field)| match (field.get("default"), field["type"].as_str()) {
            (Some(default), _) => Some((name.clone(), default.clone())),
            (None, Some("boolean")) => Some((name.clone(), json!(true))),
            (None, _) => None,
        })
        .collect();
    json!({"action": "accept", "content": content})
}
