// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// An ERC-20 that keeps a part of every transfer for a collector, and counts: every transfer writes the same slots.
contract FeeToken {
    /// A transfer's fee, in hundredths of a percent.
    uint256 public constant FEE = 30;

    address public collector;
    uint256 public totalSupply;
    uint256 public transfers;
    mapping(address account => uint256) public balanceOf;
    mapping(address account => mapping(address spender => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error InsufficientBalance(address account, uint256 balance, uint256 needed);
    error InsufficientAllowance(address spender, uint256 allowance, uint256 needed);

    constructor(address collector_, uint256 supply) {
        collector = collector_;
        totalSupply = supply;
        balanceOf[msg.sender] = supply;
        emit Transfer(address(0), msg.sender, supply);
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < value) revert InsufficientAllowance(msg.sender, allowed, value);
        unchecked {
            allowance[from][msg.sender] = allowed - value;
        }
        _move(from, to, value);
        return true;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        uint256 balance = balanceOf[from];
        if (balance < value) revert InsufficientBalance(from, balance, value);
        uint256 fee = value * FEE / 10_000;
        unchecked {
            // No balance exceeds the supply.
            balanceOf[from] = balance - value;
            balanceOf[to] += value - fee;
            balanceOf[collector] += fee;
        }
        transfers += 1;
        emit Transfer(from, to, value - fee);
        emit Transfer(from, collector, fee);
    }
}
