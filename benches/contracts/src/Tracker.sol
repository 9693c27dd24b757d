// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Follows items through a supply chain: who has each, and a record of all that happened to it, which only grows.
contract Tracker {
    enum Event {
        Made,
        Shipped,
        Received,
        Inspected,
        Sold
    }

    struct Record {
        address by;
        uint64 time;
        Event what;
        bytes32 place;
        bytes32 document;
    }

    struct Item {
        address custodian;
        uint64 count;
        /// A hash over all records, each with the hash before it.
        bytes32 head;
    }

    mapping(bytes32 item => Item) public items;
    mapping(bytes32 item => Record[]) public records;
    mapping(address account => uint256) public recordsBy;
    uint256 public itemCount;

    event Recorded(bytes32 indexed item, address indexed by, Event what, bytes32 place, bytes32 head);
    event HandedOver(bytes32 indexed item, address indexed from, address indexed to);

    error Known(bytes32 item);
    error NotCustodian(address caller, bytes32 item);

    function register(bytes32 item, bytes32 place, bytes32 document) external {
        if (items[item].custodian != address(0)) revert Known(item);
        items[item].custodian = msg.sender;
        itemCount += 1;
        _append(item, Event.Made, place, document);
    }

    function record(bytes32 item, Event what, bytes32 place, bytes32 document) external {
        if (items[item].custodian != msg.sender) revert NotCustodian(msg.sender, item);
        _append(item, what, place, document);
    }

    function handOver(bytes32 item, address to, bytes32 place, bytes32 document) external {
        if (items[item].custodian != msg.sender) revert NotCustodian(msg.sender, item);
        _append(item, Event.Shipped, place, document);
        items[item].custodian = to;
        emit HandedOver(item, msg.sender, to);
    }

    function _append(bytes32 item, Event what, bytes32 place, bytes32 document) private {
        Item storage followed = items[item];
        bytes32 head = keccak256(abi.encode(followed.head, msg.sender, block.timestamp, what, place, document));
        followed.head = head;
        followed.count += 1;
        records[item].push(Record(msg.sender, uint64(block.timestamp), what, place, document));
        recordsBy[msg.sender] += 1;
        emit Recorded(item, msg.sender, what, place, head);
    }
}
