// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the vault needs of its token.
interface IVaultToken {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
}

/// Who borrows from the vault for the length of a call.
interface IFlashBorrower {
    function onFlashLoan(address token, uint256 amount, uint256 fee, bytes calldata data) external;
}

/// Lends all it has, to be paid back with a fee before the call ends.
contract FlashVault {
    /// In hundredths of a percent.
    uint256 public constant FEE = 5;

    mapping(address token => uint256) public earned;
    uint256 public loans;

    event Lent(address indexed borrower, address indexed token, uint256 amount, uint256 fee);

    error NotPaidBack(uint256 balance, uint256 owed);
    error TransferFailed();

    function flashLoan(address token, uint256 amount, bytes calldata data) external {
        uint256 before = IVaultToken(token).balanceOf(address(this));
        uint256 fee = amount * FEE / 10_000;
        if (!IVaultToken(token).transfer(msg.sender, amount)) revert TransferFailed();
        IFlashBorrower(msg.sender).onFlashLoan(token, amount, fee, data);
        uint256 balance = IVaultToken(token).balanceOf(address(this));
        if (balance < before + fee) revert NotPaidBack(balance, before + fee);
        earned[token] += fee;
        loans += 1;
        emit Lent(msg.sender, token, amount, fee);
    }
}
