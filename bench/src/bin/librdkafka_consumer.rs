//! A round of librdkafka's C API. `main` is in `native/consumer.c`; this has the library linked to it.

#![no_main]

use rdkafka_sys as _;
