use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
pub async fn fresh_database() -> PgPool {
    let options = PgConnectOptions::new_without_pgpass().host("/tmp/pgweb").username("postgres").database("postgres");
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let name = format!("t{}", uuid::Uuid::now_v7().simple());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    let pool = upscore::db::pool(options.database(&name), 24);
    upscore::db::migrate(&pool).await.unwrap();
    pool
}
