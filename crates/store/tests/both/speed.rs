//! How long the large things take, said for whoever reads the output. Bounds here are far above that, for slow machines.

use std::time::{Duration, Instant};

use hayward_store::ListScope;
use serde_json::json;

use crate::home::{Home, actor, both, kind, wanted};

both! {
    a_thousand_are_applied_at_once_and_ten_thousand_are_listed
}

async fn a_thousand_are_applied_at_once_and_ten_thousand_are_listed(home: &Home) {
    let store = home.open().await;
    let spec = json!({"command": ["npx", "x"], "env": [{"name": "A", "valueFrom": {"secretRef": {"name": "s", "key": "A"}}}]});
    let mut change = store.begin().await.unwrap();
    change.create(&wanted("secret", "s", json!({"data": {"A": "1"}})), &actor()).await.unwrap();
    change.commit().await.unwrap();
    for round in 0..10 {
        let begun = Instant::now();
        let mut change = store.begin().await.unwrap();
        for number in 0..1_000 {
            let name = format!("s{round}-{number}");
            let desired = wanted("server", &name, spec.clone());
            assert!(change.find(kind("server"), Some(None), &name).await.is_err());
            change.create(&desired, &actor()).await.unwrap();
        }
        change.commit().await.unwrap();
        println!("apply of 1,000: {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    let begun = Instant::now();
    let listed = store.list(kind("server"), ListScope::All).await.unwrap();
    println!("list of 10,000: {:?}", begun.elapsed());
    assert_eq!(listed.items.len(), 10_000);
    store.close().await;
}
