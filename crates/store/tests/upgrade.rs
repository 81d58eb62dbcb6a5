//! Databases that earlier releases made, with what was in them.
#![cfg(test)]

use std::path::Path;

use hayward_api::kinds::token::{self, Role};
use hayward_store::{ChangeKind, Store, StoreConfig};
use serde_json::json;
use sqlx::migrate::{Migration, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;

static ALL: Migrator = sqlx::migrate!("migrations/sqlite");

/// The last schema whose history was of specs alone.
const OF_SPECS: i64 = 2;

/// A database as the release with this schema made it, with a token that was changed, and one that was revoked. Later than
/// [`OF_SPECS`], it was made by that one and brought up since.
async fn made_by(schema: i64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteConnectOptions::new().filename(dir.path().join("hayward.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(file).await.unwrap();
    let upto = |schema: i64| {
        let known: Vec<Migration> = ALL.iter().filter(|step| step.version <= schema).cloned().collect();
        Migrator { migrations: known.into(), ..Migrator::DEFAULT }
    };
    upto(schema.min(OF_SPECS)).run(&pool).await.unwrap();
    for sql in [
        "INSERT INTO resources VALUES ('u1', 'token', '', 'ci', 'hayward/v1', 2, 2, '{\"role\":\"rw\",\"enabled\":true}',
             '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')",
        "INSERT INTO status VALUES ('u1', 1, '{\"ready\":true}', '2026-01-01T00:00:00Z')",
        "INSERT INTO credentials VALUES ('AAAAbbbb1111', 'u1', zeroblob(32), NULL, 7)",
        "INSERT INTO history VALUES (1, 'u1', 'token', '', 'ci', 'created', 'admin:root', '2026-01-01T00:00:00Z', NULL,
             '{\"role\":\"ro\",\"enabled\":true}')",
        "INSERT INTO history VALUES (2, 'u1', 'token', '', 'ci', 'updated', 'admin:root', '2026-01-02T00:00:00Z',
             '{\"role\":\"ro\",\"enabled\":true}', '{\"role\":\"rw\",\"enabled\":true}')",
        "INSERT INTO history VALUES (3, 'u2', 'token', '', 'old', 'created', 'system', '2026-01-03T00:00:00Z', NULL,
             '{\"role\":\"ro\",\"enabled\":true}')",
        "INSERT INTO history VALUES (4, 'u2', 'token', '', 'old', 'deleted', 'system', '2026-01-04T00:00:00Z',
             '{\"role\":\"ro\",\"enabled\":true}', NULL)",
        "UPDATE revision SET value = 4",
    ] {
        sqlx::query(sql).execute(&pool).await.unwrap();
    }
    upto(schema).run(&pool).await.unwrap();
    pool.close().await;
    dir
}

async fn open(dir: &Path) -> Store {
    Store::open(dir, StoreConfig::default()).await.unwrap()
}

#[tokio::test]
async fn what_every_earlier_schema_held_is_there_and_its_history_is_of_whole_resources() {
    let newest = ALL.iter().map(|step| step.version).max().unwrap();
    for schema in 1..newest {
        let dir = made_by(schema).await;
        let store = open(dir.path()).await;
        let tokens = store.list_tokens().await.unwrap();
        assert_eq!(tokens.len(), 1);
        let token = &tokens[0];
        assert_eq!((token.metadata.name.as_str(), token.spec.role), ("ci", Role::Rw));
        assert_eq!((token.id.as_str(), token.last_used_unix), ("AAAAbbbb1111", Some(7)));
        assert_eq!(token.metadata.updated_at, "2026-01-02T00:00:00Z");
        assert_eq!(store.status("u1").await.unwrap().unwrap().status, json!({"ready": true}));

        let history = store.history(&token::DESCRIPTOR, None, "ci").await.unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!(history[0].after.as_ref().unwrap().spec["role"], "ro");
        let (before, after) = (history[1].before.as_ref().unwrap(), history[1].after.as_ref().unwrap());
        assert_eq!((before.metadata.generation, after.metadata.generation), (1, 2));
        assert_eq!((before.metadata.resource_version, after.metadata.resource_version), (1, 2));
        assert_eq!((&before.spec["role"], &after.spec["role"]), (&json!("ro"), &json!("rw")));
        assert_eq!(after.metadata.created_at, "2026-01-01T00:00:00Z");
        let gone = store.history(&token::DESCRIPTOR, None, "old").await.unwrap();
        assert_eq!(
            (gone[1].change, gone[1].before.as_ref().unwrap().metadata.uid.as_str()),
            (ChangeKind::Deleted, "u2")
        );
        assert_eq!(store.at(&token::DESCRIPTOR, None, "old", 3).await.unwrap().spec["role"], "ro");
        assert_eq!(store.watch(0).await.unwrap().next().await.unwrap().name, "ci");
        store.close().await;
    }
}
