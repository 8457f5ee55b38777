//! The OTLP wire format alone, no sockets: protobuf and JSON, compression, and the one table that
//! turns an outcome into a code.
