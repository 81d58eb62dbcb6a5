//! Who we are to an authorization server: known before, by a document of ours, or by registering.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::discovery::Issuer;
use super::fetch::{Fetch, OauthError, is_loopback, told};

/// What we say of ourselves.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name that a person sees.
    pub name: String,
    /// Where a person's browser comes back to.
    pub redirect_uri: Url,
    /// Where a document says all this of us (a client ID metadata document), if one can be read there.
    pub document: Option<Url>,
    /// Who we are already, and to which issuer: to nobody else, whomever an upstream names.
    pub known: Option<(String, Client)>,
    /// The only issuer that is asked, whomever an upstream names.
    pub issuer: Option<String>,
    /// What to ask to be allowed, whatever an upstream says that it wants.
    pub scopes: Vec<String>,
}

impl Identity {
    /// Who we are already to this issuer.
    pub(super) fn known_at(&self, issuer: &str) -> Option<&Client> {
        self.known.as_ref().filter(|(at, _)| at == issuer).map(|(_, client)| client)
    }
}

/// Who we are to one authorization server.
#[derive(Clone, Serialize, Deserialize)]
pub struct Client {
    id: String,
    secret: Option<String>,
    /// How it was agreed on to prove it, if it was.
    #[serde(default)]
    method: Option<String>,
    /// Where a person's browser comes back to, if it was registered for that alone.
    #[serde(default)]
    redirect_uri: Option<String>,
    /// What it may ask to be allowed, if it was registered for that alone.
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that was registered by hand.
    pub fn new(id: impl Into<String>, secret: Option<String>) -> Self {
        Self { id: id.into(), secret, method: None, redirect_uri: None, scopes: None }
    }

    /// Whether a person's browser may come back to this address.
    pub(super) fn comes_back_to(&self, redirect_uri: &Url) -> bool {
        self.redirect_uri.as_ref().is_none_or(|registered| registered == redirect_uri.as_str())
    }

    /// Whether it may ask to be allowed all this.
    pub(super) fn may_ask(&self, scopes: &[String]) -> bool {
        let registered = self.scopes.as_deref();
        registered.is_none_or(|registered| scopes.iter().all(|scope| registered.contains(scope)))
    }

    /// Takes the secret out, which is kept apart.
    pub(super) fn take_secret(&mut self) -> Option<String> {
        self.secret.take()
    }

    /// Puts it back.
    pub(super) fn put_secret(&mut self, secret: Option<String>) {
        self.secret = secret;
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }
}

/// How a client proves itself to a token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Basic,
    Post,
    None,
}

impl Method {
    /// The best first: the reference servers of MCP offer a header, and look for the id in the form all the same.
    const ALL: [(&str, Self); 3] =
        [("client_secret_post", Self::Post), ("client_secret_basic", Self::Basic), ("none", Self::None)];

    /// How this client proves itself there: as was agreed on, else as the first that both of us can.
    pub(super) fn of(client: &Client, issuer: &Issuer) -> Self {
        let find =
            |name: &str| Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, method)| method);
        if client.secret.is_none() {
            return Self::None;
        }
        client.method.as_deref().and_then(find).unwrap_or_else(|| Self::offered(issuer))
    }

    /// The best way that an authorization server takes. Without a word it is the first (RFC 8414).
    fn offered(issuer: &Issuer) -> Self {
        let Some(methods) = &issuer.methods else { return Self::Basic };
        let is_offered = |(name, _): &(&str, Self)| methods.iter().any(|method| method == name);
        Self::ALL.into_iter().find(is_offered).map_or(Self::None, |(_, method)| method)
    }

    fn as_str(self) -> &'static str {
        let [(post, _), (basic, _), (none, _)] = Self::ALL;
        match self {
            Self::Basic => basic,
            Self::Post => post,
            Self::None => none,
        }
    }
}

#[derive(Deserialize)]
struct Registered {
    client_id: String,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

/// Who we are to an authorization server that doesn't know us yet, and is to be asked for these scopes.
pub(super) async fn client(
    fetch: &Fetch,
    issuer: &Issuer,
    (identity, scopes): (&Identity, &[String]),
) -> Result<Client, OauthError> {
    if let Some(document) = identity.document.as_ref().filter(|_| issuer.takes_documents) {
        return Ok(Client::new(document.as_str(), None));
    }
    let Some(endpoint) = &issuer.registration_endpoint else {
        return Err(OauthError::NotRegistered { issuer: told(&issuer.name) });
    };
    let register = async |scopes: &[String]| -> Result<Registered, OauthError> {
        let body = document(identity, scopes, Method::offered(issuer)).to_string();
        fetch.register(endpoint, body.into()).await
    };
    let (registered, scopes) = match register(scopes).await {
        // Some let no client name what it will ask for, and give it what they give all.
        Err(OauthError::Refused { .. }) if !scopes.is_empty() => (register(&[]).await?, None),
        registered => (registered?, Some(scopes.to_vec())),
    };
    Ok(Client {
        id: registered.client_id,
        secret: registered.client_secret,
        method: registered.token_endpoint_auth_method,
        redirect_uri: Some(identity.redirect_uri.to_string()),
        scopes,
    })
}

/// What we say of ourselves, as a document. Some issuers let a client ask for nothing that it doesn't name here.
fn document(identity: &Identity, scopes: &[String], method: Method) -> serde_json::Value {
    let is_own = is_loopback(&identity.redirect_uri);
    let mut document = json!({
        "client_name": identity.name,
        "redirect_uris": [identity.redirect_uri.as_str()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method.as_str(),
        "application_type": if is_own { "native" } else { "web" },
    });
    if !scopes.is_empty() {
        document["scope"] = scopes.join(" ").into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(methods: Option<&[&str]>) -> Issuer {
        serde_json::from_value(json!({
            "name": "https://as", "authorization_endpoint": "", "token_endpoint": "", "methods": methods}))
        .unwrap()
    }

    #[test]
    fn a_client_proves_itself_as_was_agreed_on_or_as_both_can() {
        let secret = Some("s".to_owned());
        for (method, secret, offered, expect) in [
            (None, &secret, None, Method::Basic),
            (None, &secret, Some(&["client_secret_post"][..]), Method::Post),
            (None, &secret, Some(&["none", "client_secret_basic", "client_secret_post"]), Method::Post),
            (None, &secret, Some(&["none", "client_secret_basic"]), Method::Basic),
            (None, &secret, Some(&["private_key_jwt"]), Method::None),
            (Some("client_secret_post"), &secret, Some(&["client_secret_basic"]), Method::Post),
            (Some("unheard_of"), &secret, None, Method::Basic),
            (Some("client_secret_basic"), &None, None, Method::None),
        ] {
            let client = Client { method: method.map(ToOwned::to_owned), ..Client::new("c", secret.clone()) };
            assert_eq!(Method::of(&client, &issuer(offered)), expect, "{method:?} {offered:?}");
        }
    }

    #[test]
    fn who_comes_back_to_this_machine_is_native() {
        for (uri, expect) in [("http://127.0.0.1:1/cb", "native"), ("https://gate.example/cb", "web")] {
            let identity = Identity {
                name: "n".into(),
                redirect_uri: Url::parse(uri).unwrap(),
                document: None,
                known: None,
                issuer: None,
                scopes: Vec::new(),
            };
            assert_eq!(document(&identity, &[], Method::None)["application_type"], expect);
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let client = Client::new("id", Some("hunter2".into()));
        assert!(!format!("{client:?}").contains("hunter2"));
    }
}
