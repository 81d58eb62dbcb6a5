//! Each rule on a table of texts: what must go, between `‹` and `›`, and what looks similar and must stay.

use super::*;

/// Characters of a made-up secret.
fn chance(chars: usize, alphabet: &str) -> String {
    let alphabet: Vec<_> = alphabet.chars().collect();
    (0..chars).map(|at| alphabet[(at * at * 7 + at * 13 + 5) % alphabet.len()]).collect()
}

fn letters(chars: usize) -> String {
    chance(chars, "aB3cD9eF2gH7iJ0kL5mN8oP1qR4sT6uVwXyZ")
}

fn digits(chars: usize) -> String {
    chance(chars, "3f9a0c7d1e5b8246")
}

/// Checks what one rule takes from a text in which that is marked.
fn check(rule: &str, marked: &str) {
    let text = marked.replace(['‹', '›'], "");
    let found = hits(text.as_bytes(), RuleSet::NONE.with(rule).unwrap());
    let found: Vec<_> = found.iter().map(|hit| &text[hit.range.clone()]).collect();
    let parts = marked.split('‹').skip(1);
    let expect: Vec<_> = parts.map(|part| part.split_once('›').unwrap().0).collect();
    assert_eq!(found, expect, "{rule}: {marked}");
}

/// Checks all of these, and that every rule is among them with both.
fn check_all(table: &[(&str, Vec<String>)]) {
    for (rule, texts) in table {
        for text in texts {
            check(rule, text);
        }
        assert!(texts.iter().any(|text| text.contains('‹')), "{rule} takes nothing");
        assert!(texts.iter().any(|text| !text.contains('‹')), "{rule} leaves nothing");
    }
    assert_eq!(table.iter().map(|row| row.0).collect::<Vec<_>>(), RuleSet::names().collect::<Vec<_>>());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_rule_takes_what_it_should_and_leaves_what_looks_similar() {
    let (l16, l20, l22, l24, l34) = (letters(16), letters(20), letters(22), letters(24), letters(34));
    let (l35, l36, l40, l43, l59, l64) =
        (letters(35), letters(36), letters(40), letters(43), letters(59), letters(64));
    let (d32, d64) = (digits(32), digits(64));
    let upper16 = chance(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    let block = format!("-----BEGIN PRIVATE KEY-----\n{l64}\n{l64}\n{l20}==\n-----END PRIVATE KEY-----");
    let cut = format!("-----BEGIN RSA PRIVATE KEY-----\n{l64}\n{l64}");
    let headers = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{d32}\n\n{l64}\n-----END RSA PRIVATE KEY-----"
    );
    check_all(&[
        (
            "private-key",
            vec![
                format!("a\n‹{block}›\nb"),
                format!("\"‹{}›\"", block.replace('\n', "\\n")),
                format!("‹{}›", block.replace('\n', "\r\n").replace("PRIVATE", "OPENSSH PRIVATE")),
                format!("‹{headers}›"),
                format!("‹{cut}› and more"),
                format!("‹{block}›\n‹{block}›"),
                block.replace("PRIVATE", "PUBLIC"),
                "it begins with -----BEGIN PRIVATE KEY----- and a line of base64".into(),
                format!("-----BEGIN CERTIFICATE-----\n{l64}\n-----END CERTIFICATE-----"),
            ],
        ),
        (
            "aws-access-key",
            vec![
                format!("id ‹AKIA{upper16}›."),
                format!("\\n‹ASIA{upper16}›\\n"),
                format!("AKIA{upper16}A xAKIA{upper16} akia{upper16}"),
                "AKIALIKE is a word".into(),
            ],
        ),
        (
            "aws-secret-key",
            vec![
                format!("aws_secret_access_key = ‹{l40}›"),
                format!("AWS_SECRET_ACCESS_KEY=‹{l40}›\n"),
                format!("{{\"SecretAccessKey\": \"‹{l40}›\"}}"),
                format!("{{\\\"SecretAccessKey\\\":\\\"‹{l40}›\\\"}}"),
                format!("aws_secret_access_key = {l36}"),
                format!("sha1 = {}", digits(40)),
            ],
        ),
        (
            "github-token",
            vec![
                format!("https://‹ghp_{l36}›@github.com"),
                format!("‹github_pat_{l22}_{l59}›"),
                format!("GH=‹ghs_{l36}›"),
                format!("ghp_{l35} ghx_{l36} xghp_{l36}"),
                "the prefix ghp_ of tokens".into(),
            ],
        ),
        ("gitlab-token", vec![format!("‹glpat-{l20}›"), "glpat-short".into()]),
        (
            "slack-token",
            vec![
                format!("‹xoxb-123456789012-123456789012-{l24}›"),
                format!("‹xapp-1-A0123456789-1234567890123-{d64}›"),
                "xoxb-token".into(),
                format!("xoxb-{l24}"),
            ],
        ),
        (
            "slack-webhook",
            vec![
                format!("https://hooks.slack.com/services/‹T01234567/B01234567/{l24}›"),
                "https://hooks.slack.com/services/".into(),
            ],
        ),
        (
            "jwt",
            vec![
                format!("cookie=‹eyJ{l20}.eyJ{l40}.{l43}›;"),
                format!("\\n‹eyJ{l20}.eyJ{l40}.{l43}›\\n"),
                format!("eyJ{l20} eyJ{l20}.{l40}.{l43} xeyJ{l20}.eyJ{l40}.{l43}"),
            ],
        ),
        ("google-api-key", vec![format!("key=‹AIza{l35}›&"), format!("AIza{l34} AIza{l40}")]),
        ("google-oauth-token", vec![format!("‹ya29.{l40}›"), "ya29.short".into()]),
        (
            "stripe-key",
            vec![
                format!("‹sk_live_{l24}› ‹rk_test_{l24}›"),
                format!("‹whsec_{l40}›"),
                format!("pk_live_{l24} sk_live_short task_live_{l24}"),
            ],
        ),
        (
            "model-api-key",
            vec![format!("‹sk-ant-api03-{l40}›, ‹sk-proj-{l40}›"), "sk-ant-hill task-proj-name".into()],
        ),
        ("npm-token", vec![format!("_authToken=‹npm_{l36}›"), format!("npm_config_cache npm_{l40}")]),
        ("pypi-token", vec![format!("‹pypi-AgEIcHlwaS5vcmc{l59}›"), "pypi-AgEnt".into()]),
        ("hugging-face-token", vec![format!("‹hf_{l34}›"), format!("hf_hub_download hf_{l40} half_{l34}")]),
        ("sendgrid-key", vec![format!("‹SG.{l22}.{l43}›"), format!("SG.{l22} MSG.{l22}.{l43}")]),
        ("digitalocean-token", vec![format!("‹dop_v1_{d64}›"), format!("dop_v1_{d32}")]),
        ("vault-token", vec![format!("‹hvs.{l24}›"), "hvs.short".into()]),
        (
            "age-key",
            vec![
                format!("‹AGE-SECRET-KEY-1{}›", chance(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")),
                "AGE-SECRET-KEY-1 is how it begins".into(),
            ],
        ),
        ("hayward-token", vec![format!("‹hwd_rw_{l59}›"), "hwd_rw_short".into()]),
        ("mymcp-token", vec![format!("‹tok_{d32}›"), format!("tok_short tok_{d64}")]),
        (
            "azure-key",
            vec![
                format!("AccountName=a;AccountKey=‹{}==›;E=b", letters(86)),
                "AccountKey=<key>; AccountKey=short==".into(),
            ],
        ),
        (
            "bearer-token",
            vec![
                format!("Authorization: Bearer ‹{l40}›"),
                format!("curl -H 'authorization: bearer ‹{d32}›'"),
                "Bearer authentication is used, bearer tokens are sent, Bearer $TOKEN, Bearer <token>".into(),
                format!("Bearer {l16}EXAMPLE, forbearer {l40}"),
            ],
        ),
        (
            "authorization-header",
            vec![
                "Authorization: Basic ‹dXNlcjpodW50ZXIy›".into(),
                format!("\"X-Api-Key\": \"‹{l24}›\""),
                format!("private-token: ‹{l20}›"),
                "Authorization: Basic and others, authorization: required, x-api-key: api_key".into(),
            ],
        ),
        (
            "url-password",
            vec![
                "postgres://app:‹hunter2›@db:5432/app".into(),
                "https://:‹p%40ss›@host, redis://u:‹x›@[::1]:1".into(),
                "https://host:80/a@b https://user@host http://a/b:c@d http://u:$PASS@h http://u:<p>@h".into(),
            ],
        ),
        (
            "basic-credentials",
            vec![
                "curl -u admin:‹hunter2x› https://h".into(),
                "--user=\"me:‹s3cr3tpass›\"".into(),
                "docker run -u 1000:1000, chown --user app:staff, curl -u user:password -u name:$PASS1"
                    .into(),
            ],
        ),
        (
            "assignment",
            vec![
                "DB_PASSWORD=‹hunter2hunter3›".into(),
                "password: ‹S3cr3t!pass›\n".into(),
                "\"client_secret\": \"‹9f8e7d6c5b4a›\"".into(),
                "{\\\"token\\\":\\\"‹a1B2c3D4e5›\\\"}".into(),
                "apiKey := '‹k3yk3yab12›', access_token => \"‹zx81zx82zy9›\"".into(),
                "https://h/?token=‹a1B2c3D4e5›&x=1".into(),
                "let token = parse_token2(header); password: String, secret: Option<Vec<u8>>".into(),
                "token = tokens[0]; password = os.environ['X']; secret=${SECRET_1234}".into(),
                "tokens: 12345678, max_tokens=100000000, token_count = 8192, password: required".into(),
                "password=********1a, secret=your-secret-1a2b, api_key=EXAMPLE1a2b3c".into(),
                "secret: /run/secrets/db, password_file=/etc/app/db1, token: self.auth.token2".into(),
            ],
        ),
    ]);
}

#[test]
fn a_rule_can_be_switched_off_and_an_unknown_one_cannot() {
    let text = format!("ghp_{} AKIA{}", letters(36), "A".repeat(16));
    let names = |rules| hits(text.as_bytes(), rules).into_iter().map(|hit| hit.rule).collect::<Vec<_>>();
    assert_eq!(names(RuleSet::ALL), ["github-token", "aws-access-key"]);
    assert_eq!(names(RuleSet::ALL.without("github-token").unwrap()), ["aws-access-key"]);
    assert_eq!(names(RuleSet::NONE), [""; 0]);
    assert_eq!(RuleSet::ALL.without("nothing"), None);
    assert!(RuleSet::NONE.is_empty() && !RuleSet::ALL.is_empty());
}

#[test]
fn names_are_unique_and_fit_into_a_tag() {
    let names: std::collections::BTreeSet<_> = RuleSet::names().collect();
    assert_eq!(names.len(), RULES.len());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
}

#[test]
fn no_text_is_slow() {
    let count = 2000;
    for text in
        ["eyJ", "token", "-----BEGIN PRIVATE KEY-----", "://", "bearer ", "password=a", "-u a:", "eyJ."]
    {
        let text = text.repeat(count);
        let start = std::time::Instant::now();
        hits(text.as_bytes(), RuleSet::ALL);
        assert!(start.elapsed().as_secs() < 5, "{text:.20}");
    }
}
