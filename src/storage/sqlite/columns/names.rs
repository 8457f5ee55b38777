//! The numbers of the columns. They lie on disk: a number is never used for another column.

/// Columns of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Text {
    Name = 0,
    StatusMessage = 1,
    Operation = 2,
    Provider = 3,
    RequestModel = 4,
    ResponseModel = 5,
    Session = 6,
    User = 7,
    ErrorType = 8,
    HttpMethod = 9,
    HttpRoute = 10,
    DbSystem = 11,
    DbOperation = 12,
    RpcSystem = 13,
    RpcService = 14,
    RpcMethod = 15,
    Dialect = 16,
    ResponseId = 17,
    FinishReason = 18,
    AgentName = 19,
    AgentId = 20,
    ToolName = 21,
    ToolCallId = 22,
    PriceVersion = 23,
}

/// Columns of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Int {
    HttpStatus = 0,
    IsModelCall = 1,
    Streaming = 2,
    TimeToFirstToken = 3,
    Input = 4,
    Output = 5,
    CacheRead = 6,
    CacheWrite = 7,
    Reasoning = 8,
    AudioIn = 9,
    AudioOut = 10,
    CostInput = 11,
    CostOutput = 12,
    CostTotal = 13,
    CostSource = 14,
    ErrorKind = 15,
    ImageIn = 16,
    ImageOut = 17,
}

/// Columns of lists of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum List {
    Tags = 0,
}
