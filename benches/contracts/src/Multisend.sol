// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What paying in a token needs of it.
interface ISentToken {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Pays many at once, in ether or in a token.
contract Multisend {
    event Sent(address indexed sender, address indexed token, uint256 recipients, uint256 total);

    error LengthsDiffer(uint256 recipients, uint256 amounts);
    error WrongPayment(uint256 paid, uint256 total);
    error TransferFailed(address to);

    function sendEther(address payable[] calldata to, uint256[] calldata amounts) external payable {
        if (to.length != amounts.length) revert LengthsDiffer(to.length, amounts.length);
        uint256 total = 0;
        for (uint256 i = 0; i < to.length; ++i) {
            total += amounts[i];
            (bool sent,) = to[i].call{value: amounts[i]}("");
            if (!sent) revert TransferFailed(to[i]);
        }
        if (total != msg.value) revert WrongPayment(msg.value, total);
        emit Sent(msg.sender, address(0), to.length, total);
    }

    function sendToken(ISentToken token, address[] calldata to, uint256[] calldata amounts) external {
        if (to.length != amounts.length) revert LengthsDiffer(to.length, amounts.length);
        uint256 total = 0;
        for (uint256 i = 0; i < to.length; ++i) {
            total += amounts[i];
            if (!token.transferFrom(msg.sender, to[i], amounts[i])) revert TransferFailed(to[i]);
        }
        emit Sent(msg.sender, address(token), to.length, total);
    }
}
