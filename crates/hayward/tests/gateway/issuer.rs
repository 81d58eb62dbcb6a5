//! An MCP server that wants OAuth, and the authorization server that grants access to it: two ports of loopback.
//!
//! The authorization server holds its clients to what the specifications say (PKCE, exact addresses to come back to, a resource,
//! codes and refresh tokens that are good once, scopes that a client was registered for), and the test says when tokens are over.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

/// What is said of the authorization server that isn't true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    /// The server says that it is another resource.
    Resource,
    /// The answers come in the name of another issuer.
    Issuer,
}

/// Both servers.
pub(crate) struct Issuer {
    /// Where the MCP server is.
    pub(crate) upstream: String,
    /// Who grants access.
    pub(crate) name: String,
    state: Arc<State>,
    addresses: [SocketAddr; 2],
}

struct State {
    upstream: String,
    name: String,
    kept: Mutex<Kept>,
    is_over: AtomicBool,
}

struct Kept {
    lie: Lie,
    count: u32,
    /// Where the browsers of clients come back to, and what they may ask to be allowed.
    clients: HashMap<String, (String, String)>,
    lifetime_s: u32,
    codes: HashMap<String, Asked>,
    access: HashSet<String>,
    refresh: HashSet<String>,
    made: Vec<String>,
    renewals: u32,
    calls: u32,
    lists: u32,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            lie: Lie::default(),
            count: 0,
            clients: HashMap::new(),
            lifetime_s: 3600,
            codes: HashMap::new(),
            access: HashSet::new(),
            refresh: HashSet::new(),
            made: Vec::new(),
            renewals: 0,
            calls: 0,
            lists: 0,
        }
    }
}

#[derive(Clone)]
struct Asked {
    client: String,
    redirect: String,
    challenge: String,
}

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    bearer: Option<String>,
    body: String,
}

/// A status, headers beside the usual ones, and a body.
type Answer = (u16, Vec<(&'static str, String)>, String);

impl Issuer {
    pub(crate) fn start() -> Self {
        let [own, other] = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [own.local_addr().unwrap(), other.local_addr().unwrap()];
        let (upstream, name) = (format!("http://{}/mcp", addresses[0]), format!("http://{}", addresses[1]));
        let state = State {
            upstream: upstream.clone(),
            name: name.clone(),
            kept: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        let state = Arc::new(state);
        for listener in [own, other] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if state.is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || state.serve(&stream));
                }
            });
        }
        Self { upstream, name, state, addresses }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.state.kept.lock().unwrap()
    }

    pub(crate) fn lies(&self, lie: Lie) {
        self.kept().lie = lie;
    }

    /// From now on tokens of access are said to be good for this long.
    pub(crate) fn grants_for(&self, lifetime_s: u32) {
        self.kept().lifetime_s = lifetime_s;
    }

    /// All tokens of access are over.
    pub(crate) fn expire(&self) {
        self.kept().access.clear();
    }

    /// Nothing that was granted is worth anything.
    pub(crate) fn revoke(&self) {
        let mut kept = self.kept();
        kept.access.clear();
        kept.refresh.clear();
    }

    /// How often something was renewed.
    pub(crate) fn renewals(&self) -> u32 {
        self.kept().renewals
    }

    /// Calls of tools that came through.
    pub(crate) fn calls(&self) -> u32 {
        self.kept().calls
    }

    /// How often it was asked for its tools.
    pub(crate) fn lists(&self) -> u32 {
        self.kept().lists
    }

    /// All secrets that were made.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.kept().made.clone()
    }

    /// Does what a person's browser does that agrees: where it is sent back to.
    pub(crate) fn agree(&self, url: &str) -> Url {
        let url = Url::parse(url).unwrap();
        assert_eq!(url.origin().ascii_serialization(), self.name);
        let (status, head) = get(&url);
        assert_eq!(status, 302, "{head}");
        let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        Url::parse(location).unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        for address in self.addresses {
            // Wakes whoever waits for one more.
            drop(TcpStream::connect(address));
        }
    }
}

/// Asks for a page: its status, and its head.
pub(crate) fn get(url: &Url) -> (u16, String) {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    write!(peer, "GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", address.0).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer)
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut bearer) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => bearer = value.trim().strip_prefix("Bearer ").map(ToOwned::to_owned),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = pairs(query);
    Some(Request { method, path: path.to_owned(), query, bearer, body: String::from_utf8(body).ok()? })
}

fn pairs(text: &str) -> HashMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn document(status: u16, value: &Value) -> Answer {
    (status, vec![("content-type", "application/json".to_owned())], value.to_string())
}

impl State {
    fn serve(&self, mut stream: &TcpStream) {
        let Some(request) = read(stream) else { return };
        let (status, headers, body) = self.answer(&request);
        let headers =
            headers.iter().fold(String::new(), |text, (name, value)| text + name + ": " + value + "\r\n");
        let length = body.len();
        // Whoever asked may be gone.
        write!(
            stream,
            "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .ok();
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut kept = self.kept.lock().unwrap();
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/mcp") => self.mcp(&mut kept, request),
            (_, "/mcp") => document(405, &json!({})),
            ("GET", "/.well-known/oauth-protected-resource/mcp") => {
                let said =
                    if kept.lie == Lie::Resource { "https://bank.example/mcp" } else { &self.upstream };
                document(
                    200,
                    &json!({"resource": said, "authorization_servers": [self.name], "scopes_supported": ["tools"]}),
                )
            }
            ("GET", "/.well-known/oauth-authorization-server") => {
                let at = |path: &str| format!("{}{path}", self.name);
                document(
                    200,
                    &json!({
                        "issuer": self.name, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
                        "registration_endpoint": at("/register"), "code_challenge_methods_supported": ["S256"],
                        "authorization_response_iss_parameter_supported": true,
                        "token_endpoint_auth_methods_supported": ["none"], "scopes_supported": ["tools", "offline_access"]}),
                )
            }
            ("POST", "/register") => {
                let document: Value = serde_json::from_str(&request.body).unwrap();
                kept.count += 1;
                let id = format!("client-{}", kept.count);
                let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let client = (said(&document["redirect_uris"][0]), said(&document["scope"]));
                kept.clients.insert(id.clone(), client);
                self::document(201, &json!({"client_id": id, "token_endpoint_auth_method": "none"}))
            }
            ("GET", "/authorize") => self.authorize(&mut kept, &request.query),
            ("POST", "/token") => self.token(&mut kept, &pairs(&request.body)),
            _ => document(404, &json!({})),
        }
    }

    fn mcp(&self, kept: &mut Kept, request: &Request) -> Answer {
        if request.bearer.as_ref().is_none_or(|token| !kept.access.contains(token)) {
            let origin = self.upstream.trim_end_matches("/mcp");
            let at = format!("{origin}/.well-known/oauth-protected-resource/mcp");
            let (_, mut headers, body) = document(401, &json!({}));
            headers.push(("www-authenticate", format!("Bearer resource_metadata=\"{at}\", scope=\"tools\"")));
            return (401, headers, body);
        }
        let message: Value = serde_json::from_str(&request.body).unwrap();
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}})
            }
            "tools/list" => {
                kept.lists += 1;
                json!({"tools": [{"name": "secret", "description": "Says it.", "inputSchema": {"type": "object"}}]})
            }
            "tools/call" => {
                kept.calls += 1;
                json!({"content": [{"type": "text", "text": "said"}]})
            }
            "ping" => json!({}),
            _ if message.get("id").is_none() => return (202, Vec::new(), String::new()),
            _ => {
                let error = json!({"code": -32601, "message": "no"});
                return document(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
            }
        };
        document(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    }

    fn authorize(&self, kept: &mut Kept, query: &HashMap<String, String>) -> Answer {
        let get = |name: &str| query.get(name).cloned().unwrap_or_default();
        let (client, redirect) = (get("client_id"), get("redirect_uri"));
        let asked = (redirect.clone(), get("scope"));
        let is_good = kept.clients.get(&client) == Some(&asked)
            && get("response_type") == "code"
            && get("code_challenge_method") == "S256"
            && get("resource") == self.upstream
            && get("scope") == "tools offline_access";
        if !is_good {
            return document(400, &json!({"error": "invalid_request", "said": query}));
        }
        kept.count += 1;
        let code = format!("code-{}-0123456789abcdef", kept.count);
        kept.made.push(code.clone());
        kept.codes.insert(
            code.clone(),
            Asked { client, redirect: redirect.clone(), challenge: get("code_challenge") },
        );
        let issuer = if kept.lie == Lie::Issuer { "https://bank.example" } else { &self.name };
        let mut url = Url::parse(&redirect).unwrap();
        url.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &get("state"))
            .append_pair("iss", issuer);
        (302, vec![("location", url.to_string())], String::new())
    }

    fn token(&self, kept: &mut Kept, form: &HashMap<String, String>) -> Answer {
        let get = |name: &str| form.get(name).cloned().unwrap_or_default();
        let refused = |error: &str| document(400, &json!({"error": error}));
        if get("resource") != self.upstream {
            return refused("invalid_target");
        }
        if get("grant_type") == "refresh_token" {
            let shown = get("refresh_token");
            if !kept.refresh.remove(&shown) {
                // It was stolen, or revoked.
                kept.refresh.clear();
                kept.access.clear();
                return refused("invalid_grant");
            }
            kept.renewals += 1;
        } else {
            let Some(asked) = kept.codes.remove(&get("code")) else { return refused("invalid_grant") };
            let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(get("code_verifier")));
            if asked.client != get("client_id")
                || asked.redirect != get("redirect_uri")
                || asked.challenge != proof
            {
                return refused("invalid_grant");
            }
        }
        kept.count += 1;
        let (access, refresh) = (
            format!("access-{}-0123456789abcdef", kept.count),
            format!("refresh-{}-0123456789abcdef", kept.count),
        );
        kept.made.extend([access.clone(), refresh.clone()]);
        kept.access.insert(access.clone());
        kept.refresh.insert(refresh.clone());
        document(
            200,
            &json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": kept.lifetime_s}),
        )
    }
}
