//! Leases: one holder at a time, until it is over.

use std::time::Duration;

use tokio::time::sleep;

use crate::home::{Home, both};

both! {
    a_lease_has_one_holder_until_it_is_over_or_given_back
    leases_that_are_over_are_not_renewed
    of_many_who_want_a_lease_one_gets_it
}

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(50);

async fn a_lease_has_one_holder_until_it_is_over_or_given_back(home: &Home) {
    let store = home.open().await;
    let acquire = async |holder: &str, ttl| store.acquire_lease("servers/a", holder, ttl).await.unwrap();
    assert!(acquire("ann", LONG).await && acquire("ann", LONG).await);
    assert!(!acquire("bob", LONG).await);
    // Another's is not given back.
    store.release_lease("servers/a", "bob").await.unwrap();
    assert!(!acquire("bob", LONG).await);
    store.release_lease("servers/a", "ann").await.unwrap();
    assert!(acquire("bob", SHORT).await);
    while !acquire("ann", LONG).await {
        sleep(SHORT).await;
    }
    assert!(!acquire("bob", LONG).await);
}

async fn leases_that_are_over_are_not_renewed(home: &Home) {
    let store = home.open().await;
    for (name, holder, ttl) in
        [("a", "ann", LONG), ("b", "ann", LONG), ("c", "bob", LONG), ("d", "ann", SHORT)]
    {
        assert!(store.acquire_lease(name, holder, ttl).await.unwrap());
    }
    sleep(SHORT * 2).await;
    let mut renewed = store.renew_leases("ann", LONG).await.unwrap();
    renewed.sort();
    assert_eq!(renewed, ["a", "b"]);
    assert!(store.acquire_lease("d", "bob", LONG).await.unwrap());
    assert_eq!(store.renew_leases("cid", LONG).await.unwrap(), [] as [&str; 0]);
}

async fn of_many_who_want_a_lease_one_gets_it(home: &Home) {
    let store = home.open().await;
    let mut wanting = Vec::new();
    for holder in 0..20 {
        let store = store.clone();
        wanting.push(tokio::spawn(async move {
            store.acquire_lease("a", &holder.to_string(), LONG).await.unwrap()
        }));
    }
    let mut got = 0;
    for wanting in wanting {
        got += u32::from(wanting.await.unwrap());
    }
    assert_eq!(got, 1);
}
