//! One way to say SQL to either engine: the same text, the same arguments, the same rows.
//!
//! An enum instead of `sqlx::Any`, which would hide what each engine has to be told when it is opened, and knows neither
//! notifications nor the types of either.

use futures_util::TryStreamExt as _;
use sqlx::database::HasStatementCache;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Database, Decode, Encode, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite,
    SqlitePool, Type,
};

/// Connections to a database.
#[derive(Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A change that has begun; dropped, it is undone.
pub(crate) enum Tx {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }
}

/// Where something is said.
pub(crate) enum On<'a> {
    Pool(&'a Pool),
    Tx(&'a mut Tx),
}

impl<'a> From<&'a Pool> for On<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'a> From<&'a mut Tx> for On<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

/// A value that is bound; none is NULL of its type.
pub(crate) enum Argument {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bool(bool),
}

macro_rules! arguments {
    ($($from:ty => $variant:ident, $into:expr;)*) => {$(
        impl From<$from> for Argument {
            fn from(value: $from) -> Self {
                let into: fn($from) -> _ = $into;
                Self::$variant(into(value))
            }
        }
    )*};
}

arguments! {
    i64 => Int, Some;
    Option<i64> => Int, |value| value;
    u64 => Int, |value| Some(value.cast_signed());
    usize => Int, |value| i64::try_from(value).ok();
    String => Text, Some;
    &str => Text, |value| Some(value.to_owned());
    &String => Text, |value| Some(value.clone());
    Option<String> => Text, |value| value;
    &Option<String> => Text, Clone::clone;
    Option<&str> => Text, |value| value.map(str::to_owned);
    Vec<u8> => Bytes, Some;
    &[u8] => Bytes, |value| Some(value.to_vec());
    Option<&[u8]> => Bytes, |value| value.map(<[u8]>::to_vec);
    bool => Bool, |value| value;
}

/// Something to be said, and what is bound to it.
pub(crate) struct Query {
    text: SqlStr,
    arguments: Vec<Argument>,
    is_kept: bool,
}

/// A statement that each connection prepares once.
pub(crate) fn query(text: &'static str) -> Query {
    Query { text: text.into_sql_str(), arguments: Vec::new(), is_kept: true }
}

/// A statement that was put together of constant text and placeholders: it is not kept prepared.
pub(crate) fn assembled(text: String) -> Query {
    Query { text: AssertSqlSafe(text).into_sql_str(), arguments: Vec::new(), is_kept: false }
}

/// Says a query where it is to be said, and makes of the answer what both engines have in common.
macro_rules! say {
    ($query:expr, $on:expr, $method:ident, $sqlite:expr, $postgres:expr) => {
        match $on.into() {
            On::Pool(Pool::Sqlite(pool)) => $query.build::<Sqlite>().$method(pool).await.map($sqlite),
            On::Pool(Pool::Postgres(pool)) => $query.build::<Postgres>().$method(pool).await.map($postgres),
            On::Tx(Tx::Sqlite(tx)) => $query.build::<Sqlite>().$method(&mut **tx).await.map($sqlite),
            On::Tx(Tx::Postgres(tx)) => $query.build::<Postgres>().$method(&mut **tx).await.map($postgres),
        }
    };
}

impl Query {
    pub(crate) fn bind(mut self, value: impl Into<Argument>) -> Self {
        self.arguments.push(value.into());
        self
    }

    fn build<DB: Database + HasStatementCache>(self) -> sqlx::query::Query<'static, DB, DB::Arguments>
    where
        DB::Arguments: sqlx::IntoArguments<DB>,
        Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<Vec<u8>>: for<'q> Encode<'q, DB> + Type<DB>,
        bool: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query::<DB>(self.text).persistent(self.is_kept);
        self.arguments.into_iter().fold(query, |query, argument| match argument {
            Argument::Int(value) => query.bind(value),
            Argument::Text(value) => query.bind(value),
            Argument::Bytes(value) => query.bind(value),
            Argument::Bool(value) => query.bind(value),
        })
    }

    /// How many rows it changed.
    pub(crate) async fn execute<'a>(self, on: impl Into<On<'a>>) -> Result<u64, sqlx::Error> {
        say!(self, on, execute, |done| done.rows_affected(), |done| done.rows_affected())
    }

    pub(crate) async fn fetch_all<'a>(self, on: impl Into<On<'a>>) -> Result<Vec<Row>, sqlx::Error> {
        say!(self, on, fetch_all, |rows| rows.into_iter().map(Row::Sqlite).collect(), |rows| rows
            .into_iter()
            .map(Row::Postgres)
            .collect())
    }

    /// Does something with each row as it comes, until that fails: many rows don't lie about at once.
    pub(crate) async fn fetch_each<'a, E>(
        self,
        on: impl Into<On<'a>>,
        mut with: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<Result<(), E>, sqlx::Error> {
        macro_rules! each {
            ($engine:ty, $on:expr, $row:path) => {{
                let mut rows = self.build::<$engine>().fetch($on);
                while let Some(row) = rows.try_next().await? {
                    if let Err(error) = with(&$row(row)) {
                        return Ok(Err(error));
                    }
                }
            }};
        }
        match on.into() {
            On::Pool(Pool::Sqlite(pool)) => each!(Sqlite, pool, Row::Sqlite),
            On::Pool(Pool::Postgres(pool)) => each!(Postgres, pool, Row::Postgres),
            On::Tx(Tx::Sqlite(tx)) => each!(Sqlite, &mut **tx, Row::Sqlite),
            On::Tx(Tx::Postgres(tx)) => each!(Postgres, &mut **tx, Row::Postgres),
        }
        Ok(Ok(()))
    }

    pub(crate) async fn fetch_one<'a>(self, on: impl Into<On<'a>>) -> Result<Row, sqlx::Error> {
        say!(self, on, fetch_one, Row::Sqlite, Row::Postgres)
    }

    pub(crate) async fn fetch_optional<'a>(self, on: impl Into<On<'a>>) -> Result<Option<Row>, sqlx::Error> {
        say!(self, on, fetch_optional, |row| row.map(Row::Sqlite), |row| row.map(Row::Postgres))
    }
}

/// A row of either engine.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What both engines can read.
pub(crate) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl Row {
    /// The column of this name.
    pub(crate) fn get<T: Column>(&self, column: &str) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// The column at this place, from 0.
    pub(crate) fn at<T: Column>(&self, place: usize) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(place),
            Self::Postgres(row) => row.try_get(place),
        }
    }
}

/// Inserts rows of so many columns, as many at once as the engines take well.
///
/// `head` is all before the values, e.g. `INSERT INTO history (revision, uid) VALUES `.
pub(crate) async fn insert_all<const N: usize>(
    tx: &mut Tx,
    head: &'static str,
    rows: Vec<[Argument; N]>,
) -> Result<(), sqlx::Error> {
    /// Rows of one statement.
    const ROWS: usize = 200;
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(ROWS).collect();
        let mut statement = assembled(format!("{head}{}", places::<N>(some.len())));
        statement.arguments = some.into_iter().flatten().collect();
        statement.execute(&mut *tx).await?;
    }
    Ok(())
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn places<const N: usize>(rows: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=N).map(|column| format!("${}", row * N + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_on_from_row_to_row() {
        assert_eq!(places::<2>(2), "($1, $2), ($3, $4)");
        assert_eq!(places::<1>(1), "($1)");
    }
}
