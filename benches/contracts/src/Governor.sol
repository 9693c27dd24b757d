// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What a voter needs: the voting power is a token's balance that is locked here.
interface IVotingToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Votes on proposals, with locked tokens, one's own or those of who delegated theirs.
contract Governor {
    enum Support {
        Against,
        For,
        Abstain
    }

    struct Proposal {
        address proposer;
        uint64 begins;
        uint64 ends;
        uint256 against;
        uint256 inFavour;
        uint256 abstained;
        uint256 voters;
        bytes32 action;
    }

    IVotingToken public token;
    uint256 public lockedTotal;
    Proposal[] public proposals;
    mapping(address account => uint256) public locked;
    mapping(address account => address) public delegateOf;
    mapping(address account => uint256) public powerOf;
    mapping(uint256 proposal => mapping(address account => uint256)) public votes;

    event Proposed(uint256 indexed id, address indexed proposer, bytes32 action);
    event Voted(uint256 indexed id, address indexed voter, Support support, uint256 power);
    event Delegated(address indexed account, address indexed to, uint256 power);

    error NotOpen(uint256 id);
    error AlreadyVoted(address account);
    error NoPower(address account);
    error TransferFailed();

    constructor(IVotingToken token_) {
        token = token_;
    }

    function lock(uint256 amount) external {
        locked[msg.sender] += amount;
        lockedTotal += amount;
        address to = delegateOf[msg.sender];
        powerOf[to == address(0) ? msg.sender : to] += amount;
        if (!token.transferFrom(msg.sender, address(this), amount)) revert TransferFailed();
    }

    function unlock(uint256 amount) external {
        locked[msg.sender] -= amount;
        lockedTotal -= amount;
        address to = delegateOf[msg.sender];
        powerOf[to == address(0) ? msg.sender : to] -= amount;
        if (!token.transfer(msg.sender, amount)) revert TransferFailed();
    }

    /// Lets somebody else vote with what the caller has locked.
    function delegate(address to) external {
        address from = delegateOf[msg.sender];
        uint256 power = locked[msg.sender];
        powerOf[from == address(0) ? msg.sender : from] -= power;
        powerOf[to == address(0) ? msg.sender : to] += power;
        delegateOf[msg.sender] = to;
        emit Delegated(msg.sender, to, power);
    }

    function propose(bytes32 action, uint64 delay, uint64 time) external returns (uint256 id) {
        id = proposals.length;
        uint64 begins = uint64(block.timestamp) + delay;
        proposals.push(Proposal(msg.sender, begins, begins + time, 0, 0, 0, 0, action));
        emit Proposed(id, msg.sender, action);
    }

    function vote(uint256 id, Support support) external {
        Proposal storage proposal = proposals[id];
        if (block.timestamp < proposal.begins || block.timestamp >= proposal.ends) revert NotOpen(id);
        if (votes[id][msg.sender] != 0) revert AlreadyVoted(msg.sender);
        uint256 power = powerOf[msg.sender];
        if (power == 0) revert NoPower(msg.sender);
        votes[id][msg.sender] = power;
        if (support == Support.For) proposal.inFavour += power;
        else if (support == Support.Against) proposal.against += power;
        else proposal.abstained += power;
        proposal.voters += 1;
        emit Voted(id, msg.sender, support, power);
    }
}
