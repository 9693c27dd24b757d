// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A rollup's inbox: deposits in their order, each hashed together with all before it.
contract BridgeInbox {
    struct Message {
        address sender;
        address to;
        uint128 amount;
        uint64 time;
        bytes32 dataHash;
    }

    address public sequencer;
    uint64 public count;
    /// How many messages the rollup has taken.
    uint64 public taken;
    uint256 public held;
    mapping(uint256 index => bytes32) public accumulators;
    mapping(uint256 index => Message) public messages;

    event Deposited(uint256 indexed index, address indexed sender, address indexed to, uint256 amount, bytes32 accumulator);
    event Taken(uint256 from, uint256 to, bytes32 accumulator);

    error NotSequencer(address caller);
    error NotThere(uint256 index);
    error LengthsDiffer();
    error WrongPayment(uint256 paid, uint256 total);

    constructor(address sequencer_) {
        sequencer = sequencer_;
    }

    function deposit(address to, bytes calldata data) external payable returns (uint256 index) {
        held += msg.value;
        return _append(count, to, msg.value, keccak256(data));
    }

    /// Deposits for several at once.
    function depositBatch(address[] calldata to, uint256[] calldata amounts) external payable {
        if (to.length != amounts.length) revert LengthsDiffer();
        uint256 total = 0;
        uint256 index = count;
        for (uint256 i = 0; i < to.length; ++i) {
            total += amounts[i];
            _append(index + i, to[i], amounts[i], bytes32(0));
        }
        if (total != msg.value) revert WrongPayment(msg.value, total);
        held += total;
    }

    /// The sequencer has executed the messages up to this one.
    function take(uint64 upTo) external {
        if (msg.sender != sequencer) revert NotSequencer(msg.sender);
        if (upTo > count) revert NotThere(upTo);
        emit Taken(taken, upTo, accumulators[upTo]);
        taken = upTo;
    }

    function _append(uint256 index, address to, uint256 amount, bytes32 dataHash) private returns (uint256) {
        bytes32 hash = keccak256(abi.encode(index, msg.sender, to, amount, block.timestamp, dataHash));
        bytes32 accumulator = keccak256(abi.encode(accumulators[index], hash));
        accumulators[index + 1] = accumulator;
        messages[index] = Message(msg.sender, to, uint128(amount), uint64(block.timestamp), dataHash);
        count = uint64(index + 1);
        emit Deposited(index, msg.sender, to, amount, accumulator);
        return index;
    }
}
