//! A database of a test's own, of either engine.

use std::sync::atomic::{AtomicU32, Ordering};

use hayward_api::kinds::{Descriptor, find};
use hayward_store::limits::Limits;
use hayward_store::{Actor, Deletion, Desired, Key, Resource, Store, StoreConfig, StoreError};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// The server on which databases are made.
const SERVER: &str = "HAYWARD_TEST_POSTGRES";

/// A folder, and a database on a server if it is that engine's turn.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
    pub(crate) url: Option<String>,
    pub(crate) limits: Limits,
}

impl Home {
    pub(crate) fn sqlite() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), url: None, limits: Limits::default() }
    }

    /// None, said so, where there is no server and none is required.
    pub(crate) async fn postgres() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(server) = variable(SERVER) else {
            assert!(variable("HAYWARD_TEST_REQUIRED").is_none(), "{SERVER} names no server");
            println!("skipped: {SERVER} names no server");
            return None;
        };
        let name = format!("hayward_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        let (address, _) = server.rsplit_once('/').unwrap();
        Some(Self { url: Some(format!("{address}/{name}")), ..Self::sqlite() })
    }

    pub(crate) fn config(&self) -> StoreConfig {
        let database = self.url.as_ref().map(|url| url.parse().unwrap());
        StoreConfig { limits: self.limits.clone(), database, ..StoreConfig::default() }
    }

    pub(crate) async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(self.dir.path(), self.config()).await
    }

    /// Renames a resource past all checks.
    pub(crate) async fn rename(&self, table: &str, uid: &str, name: &str) {
        self.say(&format!("UPDATE {table} SET name = '{name}' WHERE uid = '{uid}'")).await;
    }

    /// Says something to the database past the store.
    pub(crate) async fn say(&self, sql: &str) {
        let Some(url) = &self.url else {
            let file = SqliteConnectOptions::new().filename(self.dir.path().join("hayward.db"));
            let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
            return connection.close().await.unwrap();
        };
        execute(url, sql).await;
    }

    pub(crate) async fn finish(self) {
        let (Some(server), Some(url)) = (variable(SERVER), &self.url) else { return };
        let (_, name) = url.rsplit_once('/').unwrap();
        execute(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    }
}

pub(crate) async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test command says by variables what there is to test with"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Makes of a function over a [`Home`] a test on each engine.
macro_rules! both {
    ($($name:ident)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let home = $crate::home::Home::sqlite();
                super::$name(&home).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let Some(home) = $crate::home::Home::postgres().await else { return };
                super::$name(&home).await;
                home.finish().await;
            }
        }
    )*};
}
pub(crate) use both;

pub(crate) fn actor() -> Actor {
    Actor::system()
}

pub(crate) fn kind(word: &str) -> &'static Descriptor {
    find(word).unwrap()
}

pub(crate) fn key<'a>(word: &str, name: &'a str) -> Key<'a> {
    Key::global(kind(word), name)
}

pub(crate) fn wanted<'a>(word: &str, name: &'a str, spec: Value) -> Desired<'a> {
    Desired::new(kind(word), None, name, spec)
}

pub(crate) async fn create(store: &Store, word: &str, name: &str, spec: Value) -> Resource {
    store.create(&wanted(word, name, spec), &actor()).await.unwrap()
}

pub(crate) async fn update(
    store: &Store,
    word: &str,
    name: &str,
    spec: Value,
) -> Result<Resource, StoreError> {
    store.update(&key(word, name), None, &wanted(word, name, spec), &actor()).await
}

pub(crate) async fn delete(store: &Store, word: &str, name: &str) -> Result<Resource, StoreError> {
    store.delete(&key(word, name), None, Deletion::Refuse, &actor()).await
}
