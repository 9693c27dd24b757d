// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A collection of ERC-721 tokens that anybody may mint for a price: their numbers are sequential.
contract Collectible {
    address public owner;
    uint96 public price;
    uint64 public nextId;
    uint64 public mostIds;
    uint64 public mostPerAccount;
    mapping(uint256 id => address) public ownerOf;
    mapping(address account => uint256) public balanceOf;
    mapping(address account => uint256) public minted;
    mapping(uint256 id => address) public getApproved;
    mapping(uint256 id => bytes32) public seedOf;

    event Transfer(address indexed from, address indexed to, uint256 indexed id);
    event Approval(address indexed owner, address indexed approved, uint256 indexed id);

    error WrongPayment(uint256 paid, uint256 price);
    error SoldOut();
    error TooMany(address account);
    error NotAllowed(address caller, uint256 id);

    constructor(uint96 price_, uint64 mostIds_, uint64 mostPerAccount_) {
        (owner, price, mostIds, mostPerAccount) = (msg.sender, price_, mostIds_, mostPerAccount_);
        nextId = 1;
    }

    function mint(uint256 count) external payable returns (uint256 first) {
        if (msg.value != count * price) revert WrongPayment(msg.value, count * price);
        first = nextId;
        if (first + count - 1 > mostIds) revert SoldOut();
        uint256 total = minted[msg.sender] + count;
        if (total > mostPerAccount) revert TooMany(msg.sender);
        minted[msg.sender] = total;
        nextId = uint64(first + count);
        balanceOf[msg.sender] += count;
        for (uint256 id = first; id < first + count; ++id) {
            ownerOf[id] = msg.sender;
            seedOf[id] = keccak256(abi.encode(blockhash(block.number - 1), msg.sender, id));
            emit Transfer(address(0), msg.sender, id);
        }
    }

    function approve(address approved, uint256 id) external {
        if (ownerOf[id] != msg.sender) revert NotAllowed(msg.sender, id);
        getApproved[id] = approved;
        emit Approval(msg.sender, approved, id);
    }

    function transferFrom(address from, address to, uint256 id) external {
        if (ownerOf[id] != from || (msg.sender != from && msg.sender != getApproved[id])) {
            revert NotAllowed(msg.sender, id);
        }
        delete getApproved[id];
        ownerOf[id] = to;
        balanceOf[from] -= 1;
        balanceOf[to] += 1;
        emit Transfer(from, to, id);
    }
}
