//! The table of rules: what secrets of well-known services and habits look like.
//!
//! Our own expressions, after the documented shapes. An expression is anchored at its keyword; what is called
//! `v` in it goes, or all of it.

use super::shape::{any, literal, random};

/// A rule.
pub(in super::super) struct Rule {
    /// Its name, which stands in its tags.
    pub(super) name: &'static str,
    /// What it begins with, in any case.
    pub(super) keywords: &'static [&'static str],
    pub(super) expression: &'static str,
    /// What may stand before it.
    pub(super) edge: Edge,
    /// Whether such a value, with this behind it, is one.
    pub(super) accepts: fn(&[u8], &[u8]) -> bool,
}

/// What may stand before a keyword.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Edge {
    /// Anything.
    Any,
    /// No letter, digit, `_` or `-`, unless it is the letter of an escape such as `\n`.
    Word,
}

impl Edge {
    pub(super) fn allows(self, before: &[u8]) -> bool {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match before {
            _ if self == Self::Any => true,
            [.., b'\\', b'n' | b't' | b'r'] | [] => true,
            [.., last] => !is_word(last),
        }
    }
}

const fn token(name: &'static str, keywords: &'static [&'static str], expression: &'static str) -> Rule {
    Rule { name, keywords, expression, edge: Edge::Word, accepts: any }
}

/// Every rule. The first one takes whole blocks.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "private-key",
        keywords: &["-----begin "],
        // To the end; or, if it is cut off, as far as lines of base64 go.
        expression: concat!(
            r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:",
            r"(?:-?[A-Za-z0-9+/=:,. \t\r\n\\])*-----END [A-Z0-9 ]{1,40}-----",
            r"|(?:(?:[\s>|]|\\+[rn])*[A-Za-z0-9+/=]{16,})+)",
        ),
        edge: Edge::Any,
        accepts: any,
    },
    token(
        "aws-access-key",
        &["AKIA", "ASIA", "ABIA", "ACCA"],
        r"(?P<v>A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16})(?:[^A-Za-z0-9_]|\z)",
    ),
    Rule {
        name: "aws-secret-key",
        keywords: &["secret_access_key", "secretaccesskey", "aws_secret_key"],
        expression: r#"[A-Za-z_]{14,17}[\\"']{0,4}[ \t]{0,4}[:=]{1,2}>?[ \t]{0,4}[\\"']{0,4}(?P<v>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)"#,
        edge: Edge::Any,
        accepts: literal,
    },
    token(
        "github-token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
    ),
    token(
        "gitlab-token",
        &["glpat-", "glptt-", "glrt-", "gldt-"],
        r"gl(?:pat|ptt|rt|dt)-[A-Za-z0-9_-]{20,64}",
    ),
    token(
        "slack-token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xapp-"],
        r"(?:xox[abeprs][.-](?:[a-z]{3,4}-)?[0-9]{1,13}-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Z0-9]{6,16}-[0-9]{8,16}-[a-f0-9]{32,80})",
    ),
    Rule {
        name: "slack-webhook",
        keywords: &["hooks.slack.com"],
        expression: r"hooks\.slack\.com\\?/(?:services|workflows|triggers)\\?/(?P<v>[A-Z0-9][A-Za-z0-9]{7,16}\\?/[A-Za-z0-9]{8,24}\\?/[A-Za-z0-9]{16,64})",
        edge: Edge::Any,
        accepts: any,
    },
    token("jwt", &["eyJ"], r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"),
    token("google-api-key", &["AIza"], r"(?P<v>AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|\z)"),
    token(
        "google-oauth-token",
        &["ya29.", "GOCSPX-"],
        r"(?:ya29\.[A-Za-z0-9_-]{30,}|GOCSPX-[A-Za-z0-9_-]{28})",
    ),
    token(
        "stripe-key",
        &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"],
        r"(?:[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{32,64})",
    ),
    token(
        "model-api-key",
        &["sk-ant-", "sk-proj-", "sk-svcacct-", "sk-or-v1-"],
        r"sk-(?:ant|proj|svcacct|or-v1)-[A-Za-z0-9_-]{32,}",
    ),
    token("npm-token", &["npm_"], r"(?P<v>npm_[A-Za-z0-9]{36})(?:[^A-Za-z0-9_]|\z)"),
    token("pypi-token", &["pypi-AgE"], r"pypi-AgE[A-Za-z0-9_-]{50,}"),
    token("hugging-face-token", &["hf_"], r"(?P<v>hf_[A-Za-z0-9]{34})(?:[^A-Za-z0-9_]|\z)"),
    token("sendgrid-key", &["SG."], r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    token("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], r"do[opr]_v1_[a-f0-9]{64}"),
    token("vault-token", &["hvs.", "hvb.", "hvr."], r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    token("age-key", &["AGE-SECRET-KEY-1"], r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
    token("hayward-token", &["hwd_"], r"hwd_[a-z]{1,16}_[A-Za-z0-9]{40,80}"),
    token("mymcp-token", &["tok_"], r"(?P<v>tok_[0-9a-f]{32})(?:[^A-Za-z0-9_]|\z)"),
    Rule {
        name: "azure-key",
        keywords: &["AccountKey=", "SharedAccessKey="],
        expression: r"(?i:AccountKey|SharedAccessKey)=(?P<v>[A-Za-z0-9+/]{42,86}={1,2})",
        edge: Edge::Any,
        accepts: any,
    },
    Rule {
        name: "bearer-token",
        keywords: &["bearer "],
        expression: r"(?i:bearer) {1,4}(?P<v>[A-Za-z0-9._~+/-]{16,}={0,2})",
        edge: Edge::Word,
        accepts: random,
    },
    Rule {
        name: "authorization-header",
        keywords: &["authorization", "x-api-key", "x-auth-token", "private-token"],
        expression: r#"[A-Za-z-]{9,19}[\\"']{0,4}[ \t]{0,2}[:=][ \t]{0,4}[\\"']{0,4}(?:(?i:basic|token|apikey|digest|negotiate) {1,4})?(?P<v>[A-Za-z0-9._~+/-]{8,}={0,2})"#,
        edge: Edge::Any,
        accepts: random,
    },
    Rule {
        name: "url-password",
        keywords: &["://"],
        expression: r#"://[^\s/?#:@"'`\\<>]{0,64}:(?P<v>[^\s/?#:@"'`\\<>]{1,})@[A-Za-z0-9\[]"#,
        edge: Edge::Any,
        accepts: literal,
    },
    Rule {
        name: "basic-credentials",
        keywords: &["-u ", "--user ", "--user="],
        expression: r#"(?:-u|--user)[ =]{1,2}["']?[A-Za-z0-9._@-]{1,64}:(?P<v>[^\s"'\\:]{6,})"#,
        edge: Edge::Word,
        accepts: random,
    },
    Rule {
        name: "assignment",
        keywords: &[
            "password",
            "passwd",
            "passphrase",
            "pwd",
            "secret",
            "token",
            "api_key",
            "api-key",
            "apikey",
            "access_key",
            "accesskey",
            "private_key",
            "auth_key",
            "credential",
        ],
        expression: concat!(
            r"[A-Za-z]{3,10}(?:[_-]?(?i:key|token|value|string))?[0-9]{0,2}",
            r#"[\\"']{0,6}[ \t]{0,8}(?::=|=>|[:=])[ \t]{0,8}[\\"']{0,6}"#,
            r"(?P<v>[A-Za-z0-9+/=_.~!@#$%^*-]{8,})",
        ),
        edge: Edge::Any,
        accepts: random,
    },
];
