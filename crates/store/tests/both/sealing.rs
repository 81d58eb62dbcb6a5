//! Values of secrets: sealed, kept, brought back, handed on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hayward_store::limits::Limits;
use hayward_store::{Store, StoreConfig, StoreError};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::home::{Home, actor, both, create, delete, key, kind, update, wanted};

both! {
    values_are_kept_by_their_mark_and_never_shown
    values_come_back_with_a_revert
    values_of_what_is_deleted_are_forgotten_with_its_history
    values_travel_to_another_server_and_only_there
    a_wrong_or_missing_key_is_refused_and_nothing_is_overwritten
    no_value_lies_in_the_database_in_any_form
    keys_are_exchanged_and_everything_opens
}

const VALUE: &str = "t0p-S3cret/välue+42?";

async fn value(store: &Store, uid: &str, name: &str) -> Option<String> {
    store.secret_values(uid).await.unwrap().get(name).map(|value| value.to_string())
}

async fn values_are_kept_by_their_mark_and_never_shown(home: &Home) {
    let store = home.open().await;
    let made = create(&store, "secret", "s", json!({"data": {"A": VALUE, "B": "two"}})).await;
    assert_eq!(made.spec, json!({"data": {"A": "***", "B": "***"}}));
    let uid = made.metadata.uid.as_str();
    let kept = update(&store, "secret", "s", json!({"data": {"A": "***", "B": "***"}})).await.unwrap();
    assert_eq!(kept, made, "the mark changes nothing");
    let same = update(&store, "secret", "s", json!({"data": {"A": VALUE, "B": "***"}})).await.unwrap();
    assert_eq!(same, made, "nor does the same value");
    let fewer = update(&store, "secret", "s", json!({"data": {"A": "***"}})).await.unwrap();
    assert_eq!(fewer.metadata.generation, 2);
    assert_eq!(
        (value(&store, uid, "A").await.as_deref(), value(&store, uid, "B").await),
        (Some(VALUE), None)
    );
    let other = update(&store, "secret", "s", json!({"data": {"A": "new", "C": "3"}})).await.unwrap();
    assert_eq!((other.metadata.generation, value(&store, uid, "A").await.as_deref()), (3, Some("new")));
    for name in ["s", "fresh"] {
        let desired = wanted("secret", name, json!({"data": {"Z": "***"}}));
        let refused = match name {
            "s" => store.update(&key("secret", name), None, &desired, &actor()).await,
            _ => store.create(&desired, &actor()).await,
        };
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Invalid(_)) && refused.to_string().contains("`data.Z`"),
            "{refused}"
        );
    }
    let live = store.live_values().await.unwrap();
    let live: Vec<_> = live
        .values
        .iter()
        .map(|(secret, name, value)| format!("{secret}.{name}={}", value.as_str()))
        .collect();
    assert_eq!(live, ["s.A=new", "s.C=3"]);
    for change in store.history(kind("secret"), None, "s").await.unwrap() {
        assert!(!format!("{change:?}").contains(VALUE));
    }
    delete(&store, "secret", "s").await.unwrap();
    assert!(store.live_values().await.unwrap().values.is_empty());
    store.close().await;
}

async fn values_come_back_with_a_revert(home: &Home) {
    let limits = Limits { secret_versions_max: 3, ..Limits::default() };
    let store = Store::open(home.dir.path(), StoreConfig { limits, ..home.config() }).await.unwrap();
    let mut versions = vec![create(&store, "secret", "s", json!({"data": {"A": "0"}})).await.metadata];
    for number in 1..5 {
        let spec = json!({"data": {"A": number.to_string()}});
        versions.push(update(&store, "secret", "s", spec).await.unwrap().metadata);
    }
    let revert = async |to: usize| {
        let mut change = store.begin().await?;
        let reverted =
            change.revert(kind("secret"), None, "s", versions[to].resource_version, &actor()).await?;
        change.commit().await?;
        Ok::<_, StoreError>(value(&store, &reverted.metadata.uid, "A").await)
    };
    assert_eq!(revert(2).await.unwrap().as_deref(), Some("2"));
    let forgotten = revert(0).await.unwrap_err();
    assert!(forgotten.to_string().contains("not kept"), "{forgotten}");
    delete(&store, "secret", "s").await.unwrap();
    assert_eq!(revert(4).await.unwrap().as_deref(), Some("4"), "made again, with what it held");
    store.close().await;
}

async fn values_of_what_is_deleted_are_forgotten_with_its_history(home: &Home) {
    let limits = Limits { history_rows_max: 4, ..Limits::default() };
    let store = Store::open(home.dir.path(), StoreConfig { limits, ..home.config() }).await.unwrap();
    create(&store, "secret", "stays", json!({"data": {"A": "kept"}})).await;
    let gone = create(&store, "secret", "gone", json!({"data": {"A": "forgotten"}})).await.metadata;
    delete(&store, "secret", "gone").await.unwrap();
    let change =
        async |number: u32| update(&store, "server", "s", json!({"command": [number.to_string()]})).await;
    create(&store, "server", "s", json!({"command": ["x"]})).await;
    for number in 0..2 {
        change(number).await.unwrap();
        assert_eq!(
            value(&store, &gone.uid, "A").await.as_deref(),
            Some("forgotten"),
            "its history still is kept"
        );
    }
    change(2).await.unwrap();
    assert_eq!(value(&store, &gone.uid, "A").await, None);
    let stays = store.get(&key("secret", "stays")).await.unwrap().metadata.uid;
    assert_eq!(value(&store, &stays, "A").await.as_deref(), Some("kept"), "what is there keeps its values");
    store.close().await;
}

async fn values_travel_to_another_server_and_only_there(home: &Home) {
    let (here, elsewhere, third) = (home.open().await, Home::sqlite(), Home::sqlite());
    let (there, stranger) = (elsewhere.open().await, third.open().await);
    let made = create(&here, "secret", "s", json!({"data": {"A": VALUE}})).await;
    let public = there.public_key().await.unwrap();
    assert_eq!(there.public_key().await.unwrap(), public);
    let sealed = here.seal_to(&made, &public.to_string().parse().unwrap()).await.unwrap();
    assert!(sealed["A"].starts_with("sealed:v1:"));
    let taken = create(&there, "secret", "s", json!({"data": sealed})).await;
    assert_eq!(taken.spec["data"]["A"], "***");
    assert_eq!(value(&there, &taken.metadata.uid, "A").await.as_deref(), Some(VALUE));
    let refuses = async |store: &Store, secret: &str, data: Value| {
        let refused = store.create(&wanted("secret", secret, json!({ "data": data })), &actor()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("not sealed for this server"), "{refused}");
    };
    refuses(&stranger, "s", json!(sealed)).await;
    // Who may not see `s` makes no secret of its own of it, nor another value of the same one.
    refuses(&there, "t", json!(sealed)).await;
    let moved = update(&there, "secret", "s", json!({"data": {"A": "***", "B": sealed["A"]}})).await;
    assert!(moved.unwrap_err().to_string().contains("not sealed for this server"));
    for store in [here, there, stranger] {
        store.close().await;
    }
}

async fn a_wrong_or_missing_key_is_refused_and_nothing_is_overwritten(home: &Home) {
    let store = home.open().await;
    let uid = create(&store, "secret", "s", json!({"data": {"A": VALUE}})).await.metadata.uid;
    store.close().await;
    let file = home.dir.path().join("keys/secrets.json");
    let right = fs::read(&file).unwrap();
    let other = Home::sqlite();
    let stranger = other.open().await;
    stranger.public_key().await.unwrap();
    stranger.close().await;
    let wrong = fs::read(other.dir.path().join("keys/secrets.json")).unwrap();
    for bad in [Some(wrong.as_slice()), Some(b"".as_slice()), Some(b"{}"), None] {
        fs::remove_file(&file).ok();
        if let Some(bad) = bad {
            put(&file, bad);
        }
        let refused = home.try_open().await.unwrap_err();
        assert!(matches!(refused, StoreError::Sealed { .. }), "{refused:?}");
        assert_eq!(fs::read(&file).ok().as_deref(), bad, "what is there stays");
    }
    put(&file, &right);
    let store = home.open().await;
    assert_eq!(value(&store, &uid, "A").await.as_deref(), Some(VALUE));
    store.close().await;
}

fn put(file: &Path, key: &[u8]) {
    fs::write(file, key).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// All that lies in the database, as bytes.
async fn everything(home: &Home) -> Vec<u8> {
    let Some(url) = &home.url else {
        let files = fs::read_dir(home.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        return files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect();
    };
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let mut all = Vec::new();
    for table in sqlx::query(tables).fetch_all(&mut connection).await.unwrap() {
        let name: String = table.get(0);
        // Bytes as hexadecimal, and as they are.
        let rows = format!("SELECT t::text FROM {name} t");
        for row in sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(&mut connection).await.unwrap() {
            all.extend(row.get::<String, _>(0).into_bytes());
        }
    }
    all
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

async fn no_value_lies_in_the_database_in_any_form(home: &Home) {
    let store = home.open().await;
    let mut desired = wanted("secret", "s", json!({"data": {"A": VALUE, "seen": "x"}}));
    desired.applied = Some(json!({"name": "s", "data": {"A": VALUE}}));
    store.create(&desired, &actor()).await.unwrap();
    update(&store, "secret", "s", json!({"data": {"A": format!("{VALUE}-2")}})).await.unwrap();
    store.rekey().await.unwrap();
    delete(&store, "secret", "s").await.unwrap();
    store.close().await;
    let all = everything(home).await;
    assert!(holds(&all, b"seen"), "the search finds what is there");
    let bytes: Vec<String> = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    let (hex, url) = (bytes.concat(), format!("%{}", bytes.join("%").to_uppercase()));
    let forms = [
        VALUE.to_owned(),
        hex.to_uppercase(),
        hex,
        url,
        json!(VALUE).to_string(),
        "t0p-S3cret%2F".to_owned(),
    ];
    for form in forms {
        assert!(!holds(&all, form.as_bytes()), "{form}");
    }
    // In base64 a value looks different by where it begins.
    for lead in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(format!("{}{VALUE}", &"xx"[..lead.min(2)]));
            assert!(!holds(&all, &encoded.as_bytes()[4..20]), "{encoded}");
        }
    }
    assert!(!holds(&all, STANDARD.encode(VALUE).as_bytes()));
}

/// The keys of all versions, as they are wrapped.
async fn wrapped_keys(home: &Home) -> Vec<Vec<u8>> {
    const SQL: &str = "SELECT wrapped_key FROM sealed";
    let Some(url) = &home.url else {
        let file = SqliteConnectOptions::new().filename(home.dir.path().join("hayward.db"));
        let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
        return sqlx::query_scalar(SQL).fetch_all(&mut connection).await.unwrap();
    };
    sqlx::query_scalar(SQL).fetch_all(&mut PgConnection::connect(url).await.unwrap()).await.unwrap()
}

async fn keys_are_exchanged_and_everything_opens(home: &Home) {
    let store = home.open().await;
    let uid = create(&store, "secret", "s", json!({"data": {"A": "1"}})).await.metadata.uid;
    update(&store, "secret", "s", json!({"data": {"A": "2"}})).await.unwrap();
    let public = store.public_key().await.unwrap();
    let before = fs::read(home.dir.path().join("keys/secrets.json")).unwrap();
    let wrapped = wrapped_keys(home).await;
    assert!(!wrapped.is_empty());
    let used = store.verify_sealed().await.unwrap();
    assert_eq!((used.versions, used.faults.len(), used.keys_used.len()), (2, 0, 1));
    let id = store.rotate_key(|_| {}).await.unwrap();
    assert_eq!(store.rekey().await.unwrap(), 2);
    store.close().await;

    if home.url.is_none() {
        let file = fs::read(home.dir.path().join("hayward.db")).unwrap();
        assert!(!wrapped.iter().any(|key| holds(&file, key)), "what the old key opens is left in the file");
        assert!(
            wrapped_keys(home).await.iter().all(|key| holds(&file, key)),
            "the search finds what is there"
        );
    }

    let store = home.open().await;
    let now = store.verify_sealed().await.unwrap();
    assert_eq!((now.versions, now.keys_used.iter().collect::<Vec<_>>()), (2, vec![&id]));
    assert!(now.keys_unused.is_empty() && !used.keys_used.contains(&id));
    assert_eq!(value(&store, &uid, "A").await.as_deref(), Some("2"));
    assert_eq!(store.public_key().await.unwrap(), public, "what was sealed for us still is");
    store.close().await;
    // The old key opens nothing any more.
    put(&home.dir.path().join("keys/secrets.json"), &before);
    assert!(matches!(home.try_open().await, Err(StoreError::Sealed { .. })));
}
